package launch

// clock is CLOCK_MONOTONIC of <sys/time.h>, which x/sys doesn't name here.
const clock = 3
