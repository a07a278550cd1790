package engine

import "time"

// Shared is a node's status of a name, for operators (--share-status). No lease depends
// on it.
type Shared struct {
	Name, Node string
	Text       []byte // one JSON object, at most MaxShared bytes
}

// The bounds of what is shared.
const (
	MaxShared    = 4 << 10            // bytes, of a name on a node
	MostShared   = 20_000             // entries that Shared reads
	SharedLasts  = 7 * 24 * time.Hour // from the last write
	ShareEvery   = time.Minute        // the least time between two writes
	ShareAtLeast = 10 * time.Minute   // the greatest time between two writes
)
