package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const operating = "example.io/operating"

// operations checks progress and cancelling, which are alike for backups and restores.
func operations(progress func(id string) (velero.OperationProgress, error), cancel func(id string) error) error {
	half, err := progress("half")
	if err != nil {
		return err
	}
	began := time.Unix(1_000_000, 0).UTC()
	done, err := progress("done")
	if err != nil {
		return err
	}
	failed, err := progress("failed")
	if err != nil {
		return err
	}
	_, lost := progress("lost")
	_, panicked := progress("panic")
	return errors.Join(
		want("half done", half, velero.OperationProgress{
			NCompleted: 5, NTotal: 10, OperationUnits: "bytes", Description: "copying",
			Started: began, Updated: began.Add(7 * time.Second),
		}),
		want("done", [2]any{done.Completed, done.Err}, [2]any{true, ""}),
		want("failed", [2]any{failed.Completed, failed.Err}, [2]any{true, "the disk is full"}),
		want("lost", fmt.Sprint(lost), "rpc error: code = Unknown desc = no operation lost"),
		want("panicked", fmt.Sprint(panicked), "rpc error: code = Aborted desc = the plug-in panicked: fell over at panic"),
		want("stopped", cancel("one"), nil),
		want("not stopped", fmt.Sprint(cancel("forever")), "rpc error: code = Unknown desc = it cannot be stopped"),
	)
}

func (c *contract) backupOperations() error {
	action, err := c.manager.GetBackupItemActionV2(operating)
	if err != nil {
		return err
	}
	_, _, id, after, err := action.Execute(object("VolumeSnapshot", "half"), backup)
	if err != nil {
		return err
	}
	snapshot := velero.ResourceIdentifier{
		GroupResource: schema.GroupResource{Group: "snapshot.storage.k8s.io", Resource: "volumesnapshots"},
		Namespace:     "shop", Name: "half",
	}
	return errors.Join(
		want("the operation", id, "half"),
		want("what comes after it", after, []velero.ResourceIdentifier{snapshot}),
		operations(
			func(id string) (velero.OperationProgress, error) { return action.Progress(id, backup) },
			func(id string) error { return action.Cancel(id, backup) },
		),
	)
}

func (c *contract) restoreOperations() error {
	action, err := c.manager.GetRestoreItemActionV2(operating)
	if err != nil {
		return err
	}
	claim := object("PersistentVolumeClaim", "half")
	out, err := action.Execute(&velero.RestoreItemActionExecuteInput{Item: claim, ItemFromBackup: claim, Restore: restore})
	if err != nil {
		return err
	}
	ready := func(name string) bool {
		ready, failed := action.AreAdditionalItemsReady([]velero.ResourceIdentifier{{Namespace: "shop", Name: name}}, restore)
		err = errors.Join(err, failed)
		return ready
	}
	is := [2]bool{ready("ready"), ready("late")}
	return errors.Join(
		err,
		want("the operation", out.OperationID, "half"),
		want("the waiting", [2]any{out.WaitForAdditionalItems, out.AdditionalItemsReadyTimeout}, [2]any{true, 1500 * time.Millisecond}),
		want("what is ready", is, [2]bool{true, false}),
		operations(
			func(id string) (velero.OperationProgress, error) { return action.Progress(id, restore) },
			func(id string) error { return action.Cancel(id, restore) },
		),
	)
}
