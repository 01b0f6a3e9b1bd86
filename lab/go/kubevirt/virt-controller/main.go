// Command virt-controller is KubeVirt's own controller of virtual machines.
package main

import "kubevirt.io/kubevirt/pkg/virt-controller/watch"

func main() {
	watch.Execute()
}
