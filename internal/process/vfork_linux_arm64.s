#include "textflag.h"

// func vfork(number, arg1, arg2 uintptr, p *prepared) (pid uintptr)
TEXT ·vfork(SB), NOSPLIT, $0-40
	MOVD number+0(FP), R8
	MOVD arg1+8(FP), R0
	MOVD arg2+16(FP), R1
	MOVD p+24(FP), R19 // kept across system calls, for the child
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	SVC
	CBZ R0, child
	MOVD R0, pid+32(FP)
	RET
child:
	MOVD RSP, R1
	AND $~15, R1
	SUB $32, R1
	MOVD R1, RSP
	MOVD R19, 8(RSP)
	BL ·become(SB)
	BRK // become doesn't return
