package main

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt/process"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework/common"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	"github.com/vmware-tanzu/velero/pkg/util/logging"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// contract is what a plug-in is held to.
type contract struct {
	registry process.Registry
	manager  clientmgmt.Manager
	logger   *logrus.Logger
	counted  *logging.LogHook
	seen     *recorder
}

type check struct {
	name string
	run  func() error
}

func (c *contract) checks() []check {
	return []check{
		{"every kind is registered", c.registered},
		{"selectors arrive", c.selectors},
		{"an item comes back whole", c.echo},
		{"64 MiB pass both ways", c.big},
		{"calls side by side", c.parallel},
		{"an error has its text and its place", c.failure},
		{"a panic is its item's error", c.panics},
		{"the first forms, by themselves and as second ones", c.firstForms},
		{"restores skip and bring", c.restores},
		{"operations of backups", c.backupOperations},
		{"operations of restores", c.restoreOperations},
		{"deletions", c.deletions},
		{"item blocks", c.itemBlocks},
		{"a log that Velero survives", c.hostileLog},
		{"a plug-in that died is started again", c.death},
		{"the end takes less than a second", c.end},
	}
}

var backup = &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "b1"}}

var restore = &velerov1.Restore{
	ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "r1"},
	Spec:       velerov1.RestoreSpec{NamespaceMapping: map[string]string{"shop": "shop-dr"}},
}

func object(kind, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"namespace": "shop", "name": name},
	}}
}

func want(what string, got, wanted any) error {
	if !reflect.DeepEqual(got, wanted) {
		return fmt.Errorf("%s is %v, not %v", what, got, wanted)
	}
	return nil
}

// place is what Velero's error has when the plug-in told where it arose.
type place interface {
	File() string
	Line() int32
	Function() string
}

func (c *contract) registered() error {
	got := map[string]int{}
	for _, kind := range common.AllPluginKinds() {
		for _, plugin := range c.registry.List(kind) {
			if string(plugin.Kind) == string(kind) {
				got[string(kind)]++
			}
		}
	}
	return want("the number of actions of each kind", got, map[string]int{
		"BackupItemAction": 1, "BackupItemActionV2": 11, "RestoreItemAction": 1, "RestoreItemActionV2": 2,
		"DeleteItemAction": 1, "ItemBlockAction": 1,
	})
}

func (c *contract) selectors() error {
	action, err := c.manager.GetBackupItemActionV2("example.io/echo")
	if err != nil {
		return err
	}
	got, err := action.AppliesTo()
	if err != nil {
		return err
	}
	return want("the selector", got, velero.ResourceSelector{
		IncludedResources: []string{"configmaps", "persistentvolumes"}, LabelSelector: "app=shop",
	})
}

func (c *contract) execute(name string, item *unstructured.Unstructured) (map[string]any, []velero.ResourceIdentifier, error) {
	action, err := c.manager.GetBackupItemActionV2(name)
	if err != nil {
		return nil, nil, err
	}
	got, items, operation, _, err := action.Execute(item, backup)
	if err != nil {
		return nil, nil, err
	}
	return got.UnstructuredContent(), items, want("the operation", operation, "")
}

func (c *contract) echo() error {
	item := object("Thing", "t")
	item.Object["spec"] = map[string]any{
		"list": []any{nil, true, int64(1) << 62, -0.5, "\u0000\u2028ü", map[string]any{}}, "": "no key",
	}
	got, _, err := c.execute("example.io/echo", item)
	if err != nil {
		return err
	}
	return want("the item", got, item.Object)
}

func (c *contract) big() error {
	item := object("ConfigMap", "big")
	item.Object["data"] = map[string]any{"x": strings.Repeat("y", 64<<20)}
	for _, name := range []string{"example.io/echo", "example.io/annotate"} {
		got, _, err := c.execute(name, item)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(got["data"], item.Object["data"]) {
			return fmt.Errorf("%s lost some of it", name)
		}
	}
	return nil
}

func (c *contract) parallel() error {
	var calls sync.WaitGroup
	failed := make(chan error, 200)
	for n := range cap(failed) {
		calls.Go(func() {
			name := fmt.Sprint("n", n)
			got, items, err := c.execute("example.io/annotate", object("ConfigMap", name))
			if err == nil {
				metadata := got["metadata"].(map[string]any)
				err = errors.Join(want("the name", metadata["name"], name), want("the number of items", len(items), 1))
			}
			failed <- err
		})
	}
	calls.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *contract) failure() error {
	_, _, err := c.execute("example.io/fail", object("ConfigMap", "a"))
	if err == nil {
		return errors.New("no error")
	}
	at, ok := err.(place)
	if !ok {
		return fmt.Errorf("%T says no place", err)
	}
	return errors.Join(
		want("the text", err.Error(), "rpc error: code = Unknown desc = invalid digit found in string"),
		want("the file's end", at.File()[strings.LastIndex(at.File(), "/")+1:], "main.rs"),
		want("whether there is a line", at.Line() > 0, true),
		want("the function", at.Function(), "example.io/fail"),
	)
}

func (c *contract) panics() error {
	errorsBefore := c.counted.GetCount(logrus.ErrorLevel)
	_, _, err := c.execute("example.io/panic", object("ConfigMap", "a"))
	if err == nil || !strings.Contains(err.Error(), `code = Aborted desc = the plug-in panicked: specimen "a" fell over`) {
		return fmt.Errorf("the error is %v", err)
	}
	if err := c.seen.await("panic: specimen", "level=error"); err != nil {
		return err
	}
	if _, _, err := c.execute("example.io/echo", object("ConfigMap", "a")); err != nil {
		return err
	}
	return want("what Velero counts", c.counted.GetCount(logrus.ErrorLevel), errorsBefore+1)
}

func (c *contract) firstForms() error {
	pod := object("Pod", "p")
	first, err := c.manager.GetBackupItemAction("example.io/first")
	if err != nil {
		return err
	}
	got, items, err := first.Execute(pod, backup)
	if err != nil {
		return err
	}
	adapted, err := c.manager.GetBackupItemActionV2("example.io/first")
	if err != nil {
		return err
	}
	second, _, operation, _, err := adapted.Execute(pod, backup)
	if err != nil {
		return err
	}
	restoring, err := c.manager.GetRestoreItemActionV2("example.io/first")
	if err != nil {
		return err
	}
	out, err := restoring.Execute(&velero.RestoreItemActionExecuteInput{Item: pod, ItemFromBackup: pod, Restore: restore})
	if err != nil {
		return err
	}
	return errors.Join(
		want("by", got.UnstructuredContent()["by"], "b1"),
		want("the items", len(items), 1),
		want("the second form", second.UnstructuredContent(), got.UnstructuredContent()),
		want("the operation", operation, ""),
		want("where it goes to", out.UpdatedItem.UnstructuredContent()["goes-to"], "shop-dr"),
	)
}

func (c *contract) restores() error {
	action, err := c.manager.GetRestoreItemActionV2("example.io/restoring")
	if err != nil {
		return err
	}
	vm, stored := object("VirtualMachine", "db"), object("VirtualMachine", "db")
	vm.Object["spec"] = map[string]any{}
	stored.Object["status"] = map[string]any{"phase": "Bound"}
	out, err := action.Execute(&velero.RestoreItemActionExecuteInput{Item: vm, ItemFromBackup: stored, Restore: restore})
	if err != nil {
		return err
	}
	vm.SetLabels(map[string]string{"leave": "out"})
	left, err := action.Execute(&velero.RestoreItemActionExecuteInput{Item: vm, ItemFromBackup: stored, Restore: restore})
	if err != nil {
		return err
	}
	return errors.Join(
		want("the spec", out.UpdatedItem.UnstructuredContent()["spec"], map[string]any{"was": "Bound", "by": "r1"}),
		want("the items", len(out.AdditionalItems), 1),
		want("what is left out", left.SkipRestore, true),
	)
}

func (c *contract) deletions() error {
	action, err := c.manager.GetDeleteItemAction("example.io/deleting")
	if err != nil {
		return err
	}
	if _, err := action.AppliesTo(); err != nil {
		return err
	}
	input := func(name string) *velero.DeleteItemActionExecuteInput {
		return &velero.DeleteItemActionExecuteInput{Item: object("PersistentVolumeClaim", name), Backup: backup}
	}
	if err := action.Execute(input("db")); err != nil {
		return err
	}
	if err := c.seen.await("msg=deleted", "of=b1", "name=db", "namespace=shop", "level=info"); err != nil {
		return err
	}
	err = action.Execute(input("stuck"))
	return want("the error", fmt.Sprint(err), "rpc error: code = Unknown desc = PVC shop/stuck is in use")
}

func (c *contract) itemBlocks() error {
	action, err := c.manager.GetItemBlockAction("example.io/blocks")
	if err != nil {
		return err
	}
	if _, err := action.AppliesTo(); err != nil {
		return err
	}
	vm := object("VirtualMachine", "db")
	vm.Object["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{"volumes": []any{
		map[string]any{"persistentVolumeClaim": map[string]any{"claimName": "root"}}, map[string]any{},
	}}}}
	items, err := action.GetRelatedItems(vm, backup)
	if err != nil {
		return err
	}
	root := velero.ResourceIdentifier{
		GroupResource: schema.GroupResource{Resource: "persistentvolumeclaims"}, Namespace: "shop", Name: "root",
	}
	return want("the block", items, []velero.ResourceIdentifier{root})
}

func (c *contract) hostileLog() error {
	before := [2]int{c.counted.GetCount(logrus.WarnLevel), c.counted.GetCount(logrus.ErrorLevel)}
	if _, _, err := c.execute("example.io/hostile-log", object("ConfigMap", "a")); err != nil {
		return err
	}
	for _, line := range [][]string{
		{"odd fields", "level=info", "resource=1.5"},
		{"still here", "level=info", "name=a", "namespace=shop"},
		{"the end", "level=info", "stream=stderr"},
		{"( not text", "level=info"},
	} {
		if err := c.seen.await(line...); err != nil {
			return err
		}
	}
	return want("warnings and errors", [2]int{c.counted.GetCount(logrus.WarnLevel), c.counted.GetCount(logrus.ErrorLevel)}, before)
}

func (c *contract) death() error {
	_, _, err := c.execute("example.io/die", object("ConfigMap", "a"))
	if err == nil || !strings.Contains(err.Error(), "code = Unavailable") {
		return fmt.Errorf("the call that killed it says %v", err)
	}
	// Velero learns of the death beside its calls; those it makes before fail as well.
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		_, _, err = c.execute("example.io/echo", object("ConfigMap", "a"))
		if err == nil || !strings.Contains(err.Error(), "code = Unavailable") {
			return err
		}
	}
	return err
}

func (c *contract) end() error {
	begin := time.Now()
	c.manager.CleanupClients()
	if took := time.Since(begin); took > time.Second {
		return fmt.Errorf("it took %v", took)
	}
	if line := c.seen.find("plugin failed to exit gracefully"); line != "" {
		return errors.New(line)
	}
	return nil
}

// recorder keeps what Velero logs.
type recorder struct {
	lock sync.Mutex
	text bytes.Buffer
}

func newRecorder() *recorder { return &recorder{} }

func (r *recorder) Write(p []byte) (int, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.text.Write(p)
}

// find gives the first line with all these parts.
func (r *recorder) find(parts ...string) string {
	r.lock.Lock()
	defer r.lock.Unlock()
	for line := range strings.Lines(r.text.String()) {
		if all(line, parts) {
			return line
		}
	}
	return ""
}

func all(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}

// await gives a line five seconds to come: a plug-in's log is read beside its answers.
func (r *recorder) await(parts ...string) error {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if r.find(parts...) != "" {
			return nil
		}
	}
	return fmt.Errorf("Velero logged no line with %q", parts)
}
