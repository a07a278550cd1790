package crash

// Steps of [Child].
const (
	Forked = 1 + iota
	Told
	Arranged
	Last
)

// Steps are all of them, in the order of a life; a test holds the list to the
// code.
var Steps = []string{
	"lock.taken", "lock.checked", "run.opened", "run.locked", "record.read", // steps 2 to 4 of GUARD.md
	"adopt", "renew.made", "renew.locked", "renew.renamed", "record.none", // step 4
	"start.noted", "start.forked", "start.told", // step 5
	"become.exec",                                                              // instead, with --exec
	"stub.begun", "stub.announced", "stub.looked", "stub.checked", "stub.exec", // step 6
	"direct.forked", "direct.told", "direct.arranged", "direct.exec", "start.over", // the same without a stub
	"keep.missing", "keep.locked", "keep.opened", "keep.held", // step 8
	"end.worker", "end.vacated", "end.unlocked", "end.released", // step 9
	"reload.asked", "reload.started", "reload.ready", "reload.over",
	"handover.exec", "handover.taken", "handover.restored",
}
