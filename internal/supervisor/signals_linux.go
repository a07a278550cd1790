package supervisor

const lastSignal = 64 // SIGRTMAX (signal(7))
