package supervisor

const maxrssUnit = 1 // bytes, getrusage(2) of macOS
