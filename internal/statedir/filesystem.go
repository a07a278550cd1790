package statedir

// FileSystem is what statfs(2) tells of the file system that a path lies on,
// the same on each system. Blocks and inodes may be negative for who isn't root:
// what is left for root is gone then.
type FileSystem struct {
	Blocks, Free, Available int64 // available: without what is root's alone
	Inodes, FreeInodes      int64
	flags                   uint64
}
