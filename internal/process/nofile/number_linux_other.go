//go:build linux && !amd64

package nofile

const prlimit64 = 261 // include/uapi/asm-generic/unistd.h
