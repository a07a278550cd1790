#include "textflag.h"

// func vfork(number, arg1, arg2 uintptr, p *prepared) (pid uintptr)
TEXT ·vfork(SB), NOSPLIT, $0-40
	MOVQ number+0(FP), AX
	MOVQ arg1+8(FP), DI
	MOVQ arg2+16(FP), SI
	MOVQ p+24(FP), R12 // kept across system calls, for the child
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	SYSCALL
	TESTQ AX, AX
	JZ child
	MOVQ AX, pid+32(FP)
	RET
child:
	ANDQ $~15, SP
	SUBQ $16, SP
	MOVQ R12, 0(SP)
	CALL ·become(SB)
	INT $3 // become doesn't return
