package statedir

// FileSystem is what statfs(2) says of a file system, in the same form on each
// system. Available is negative when root has used blocks of its reserve.
type FileSystem struct {
	Blocks, Free, Available int64 // Available leaves out root's reserve
	Inodes, FreeInodes      int64
	flags                   uint64
}
