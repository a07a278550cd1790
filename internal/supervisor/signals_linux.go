package supervisor

// signal(7)
const (
	firstRealTime = 32
	lastSignal    = 64 // SIGRTMAX
)
