package worker

// clockMonotonic is CLOCK_MONOTONIC of NetBSD's <sys/time.h>; x/sys lacks it.
const clockMonotonic = 3
