// Command plugincontract holds a Velero plug-in to its contract by Velero's own hand: Velero's registry discovers it,
// Velero's manager starts it, restarts it and ends it, Velero's clients call it and its log goes through Velero's hooks,
// which panic on what they cannot take.
//
//	plugincontract check DIR [FLAG...]
//
// DIR has one plug-in: the specimen of the crate velero-plugin. The flags are passed on to it, as Velero passes its own.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt/process"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	"github.com/vmware-tanzu/velero/pkg/util/logging"
)

// patience is for the whole run; Velero's calls have no deadline.
const patience = 2 * time.Minute

func main() {
	if len(os.Args) > 1 && os.Args[1] == "run-plugins" {
		// Velero's registry starts its own program too, for the actions built into it. There are none here.
		framework.NewServer().BindFlags(pflag.NewFlagSet("", pflag.ContinueOnError)).Serve()
		return
	}
	if len(os.Args) < 3 || os.Args[1] != "check" {
		fmt.Fprintln(os.Stderr, "usage: plugincontract check DIR [FLAG...]")
		os.Exit(2)
	}
	time.AfterFunc(patience, func() { fatal("the whole run", fmt.Errorf("not done within %v", patience)) })

	seen := newRecorder()
	logger := logging.DefaultLogger(logrus.DebugLevel, logging.FormatText)
	logger.SetOutput(seen)
	counted := logging.NewLogHook()
	logger.Hooks.Add(counted)
	registry := process.NewRegistry(os.Args[2], logger, logger.Level)
	if err := registry.DiscoverPlugins(); err != nil {
		fatal("discovery", err)
	}
	fmt.Println("ok discovery")

	contract := &contract{registry: registry, logger: logger, counted: counted, seen: seen}
	contract.manager = clientmgmt.NewManager(logger, logger.Level, registry)
	for _, check := range contract.checks() {
		if err := check.run(); err != nil {
			fatal(check.name, err)
		}
		fmt.Println("ok", check.name)
	}
	fmt.Println("passed", 1+len(contract.checks()))
}

func fatal(name string, err error) {
	fmt.Printf("FAILED %s: %v\n", name, err)
	os.Exit(1)
}
