package crash

// Steps lists every step in the order of an instance's life.
var Steps = []string{
	"lock.taken", "lock.checked", "run.opened", "run.locked", "record.read", // steps 2 to 4 of GUARD.md
	"adopt", "renew.made", "renew.locked", "renew.renamed", "record.none", // step 4
	"start.announced", "start.secured", "start.elected", // step 5
	"fork.before", "fork.after", // step 6
	"become.exec",                                  // instead, with --exec
	"start.forked", "start.recorded", "start.told", // steps 7 and 8
	"keep.missing", "keep.locked", "keep.opened", "keep.held", // step 9
	"end.worker", "end.vacated", "end.unlocked", "end.released", // step 10
	"reload.asked", "reload.started", "reload.ready", "reload.over",
	"handover.exec", "handover.taken", "handover.restored",
}
