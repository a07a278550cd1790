package engine

import "time"

// Shared is how a name stands on a node, as that node has shared it for people
// (--share-status). No lease depends on it.
type Shared struct {
	Name, Node string
	Text       []byte // one JSON object, at most MaxShared bytes
}

// The bounds of what is shared.
const (
	MaxShared    = 4 << 10            // bytes, of a name on a node
	MostShared   = 20_000             // entries that are read
	SharedLasts  = 7 * 24 * time.Hour // after the last time it was written
	ShareEvery   = time.Minute        // a change is written no sooner
	ShareAtLeast = 10 * time.Minute   // what stays the same is written again
)
