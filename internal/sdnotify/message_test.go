package sdnotify

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	const us = time.Microsecond
	long := strings.Repeat("n", 256)
	for name, tt := range map[string]struct {
		in   string
		want Message
	}{
		"empty":          {"", Message{}},
		"ready":          {"READY=1", Message{Ready: true}},
		"not ready":      {"READY=0\nREADY=\nREADY=11\nXREADY=1\nready=1", Message{}},
		"ready late":     {"READY=0\nREADY=1", Message{Ready: true}},
		"line ends":      {"READY=1\r\n\n\rSTOPPING=1\n", Message{Ready: true, Stopping: true}},
		"trailing NUL":   {"READY=1\x00", Message{Ready: true}},
		"unknown":        {"X_MINE=3\nnonsense\n=\nFDNAME=x", Message{}},
		"status":         {"STATUS=up = 3", Message{Status: "up = 3", HasStatus: true}},
		"status cleared": {"STATUS=", Message{HasStatus: true}},
		"first counts": {"STATUS=a\nSTATUS=b\nMAINPID=3\nMAINPID=4",
			Message{Status: "a", HasStatus: true, MainPID: 3}},
		"first, though wrong": {"MAINPID=x\nMAINPID=4", Message{Invalid: "MAINPID=x"}},
		"control": {"STATUS=\x1b[2Ja\tb\x7f\u202ec\u0085\u2028d",
			Message{Status: "\ufffd[2Ja b\ufffd\ufffdc\ufffd\ufffdd", HasStatus: true}},
		"broken UTF-8":   {"STATUS=a\xffb\xc3", Message{Status: "a\ufffdb\ufffd", HasStatus: true}},
		"watchdog":       {"WATCHDOG=1", Message{Watchdog: true}},
		"trigger":        {"WATCHDOG=trigger\nWATCHDOG=1", Message{WatchdogTrigger: true}},
		"watchdog wrong": {"WATCHDOG=0", Message{Invalid: "WATCHDOG=0"}},
		"watchdog period": {"WATCHDOG_USEC=20000000", Message{WatchdogTimeout: 20 * time.Second,
			HasWatchdogTimeout: true}},
		"watchdog off":    {"WATCHDOG_USEC=0", Message{HasWatchdogTimeout: true}},
		"period negative": {"WATCHDOG_USEC=-1", Message{Invalid: "WATCHDOG_USEC=-1"}},
		"period signed":   {"WATCHDOG_USEC=+1", Message{Invalid: "WATCHDOG_USEC=+1"}},
		"period infinite": {"WATCHDOG_USEC=18446744073709551615",
			Message{Invalid: "WATCHDOG_USEC=18446744073709551615"}},
		"period too long": {"WATCHDOG_USEC=9223372036854776", Message{Invalid: "WATCHDOG_USEC=9223372036854776"}},
		"period longest": {"WATCHDOG_USEC=9223372036854775", Message{WatchdogTimeout: 9223372036854775 * us,
			HasWatchdogTimeout: true}},
		"extend": {"EXTEND_TIMEOUT_USEC=1500", Message{ExtendTimeout: 1500 * us}},
		"extend overflow": {"EXTEND_TIMEOUT_USEC=99999999999999999999",
			Message{Invalid: "EXTEND_TIMEOUT_USEC=99999999999999999999"}},
		"reloading": {"RELOADING=1\nMONOTONIC_USEC=18446744073709551615",
			Message{Reloading: true, MonotonicUSec: 1<<64 - 1}},
		"monotonic overflow": {"MONOTONIC_USEC=18446744073709551616",
			Message{Invalid: "MONOTONIC_USEC=18446744073709551616"}},
		"main pid":         {"MAINPID=4711", Message{MainPID: 4711}},
		"main pid zero":    {"MAINPID=0", Message{Invalid: "MAINPID=0"}},
		"main pid too big": {"MAINPID=4294967297", Message{Invalid: "MAINPID=4294967297"}},
		"errors": {"ERRNO=2\nBUSERROR=org.x.E\nVARLINKERROR=io.x.E",
			Message{Errno: 2, BusError: "org.x.E", VarlinkError: "io.x.E"}},
		"bus error wrong": {"BUSERROR=\x1b", Message{Invalid: "BUSERROR=\ufffd"}},
		"restart reset":   {"RESTART_RESET=1", Message{RestartReset: true}},
		"barrier":         {"BARRIER=1\n", Message{Barrier: true}},
		"store":           {"FDSTORE=1", Message{FDStore: true, FDName: "stored"}},
		"store named": {"FDNAME=a b\nFDSTORE=1\nFDPOLL=0\nFDNAME=c",
			Message{FDStore: true, FDName: "a b", NoPoll: true}},
		"store empty name": {"FDSTORE=1\nFDNAME=", Message{FDStore: true}},
		"store colon":      {"FDSTORE=1\nFDNAME=a:b", Message{FDStore: true, FDName: "stored", Invalid: "FDNAME=a:b"}},
		"store long name": {"FDSTORE=1\nFDNAME=" + long, Message{FDStore: true, FDName: "stored", Invalid: "FDNAME=" +
			long[:73]}},
		"remove":      {"FDSTOREREMOVE=1\nFDNAME=a\nFDSTORE=1", Message{FDStoreRemove: true, FDName: "a"}},
		"remove what": {"FDSTOREREMOVE=1", Message{Invalid: "FDSTOREREMOVE=1 without a valid FDNAME="}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(tt.in))
			got.content = 0
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Parse(%q)\n gave %+v, %v\n want %+v", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"READY=1\x00STATUS=x",
		"READY=1\x00\x00",
		"BARRIER=1\nREADY=1",
		"X_MINE=1\nBARRIER=1",
		"READY=1\n" + strings.Repeat("x", MaxMessage),
	} {
		if m, err := Parse([]byte(in)); err == nil || !reflect.DeepEqual(m, Message{}) {
			t.Errorf("Parse(%.40q) gave %+v, %v", in, m, err)
		}
	}
}

func TestEventOrder(t *testing.T) {
	for in, want := range map[string]Event{
		"STATUS=x":                         None,
		"RELOADING=1":                      Reloading,
		"RELOADING=1\nREADY=1":             Ready,
		"READY=1\nRELOADING=1\nSTOPPING=1": Stopping,
	} {
		m, err := Parse([]byte(in))
		if err != nil || m.Event() != want {
			t.Errorf("%q is %v (%v), want %v", in, m.Event(), err, want)
		}
	}
}

func TestStatusIsBounded(t *testing.T) {
	m, err := Parse([]byte("STATUS=x" + strings.Repeat("é", MaxStatus)))
	if err != nil || len(m.Status) != MaxStatus-1 || !utf8.ValidString(m.Status) {
		t.Errorf("%d bytes, %v: %q", len(m.Status), err, m.Status)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"READY=1\nSTATUS=Processing requests...\nMAINPID=4711",
		"RELOADING=1\nMONOTONIC_USEC=123456789", "STOPPING=1", "BARRIER=1",
		"BARRIER=1\nREADY=1", "WATCHDOG=1", "WATCHDOG=trigger", "WATCHDOG_USEC=20000000",
		"EXTEND_TIMEOUT_USEC=18446744073709551615", "ERRNO=2\nBUSERROR=org.freedesktop.DBus.Error.TimedOut",
		"FDSTORE=1\nFDNAME=foobar\nFDPOLL=0", "FDSTOREREMOVE=1\nFDNAME=a:b", "STATUS=\xff\x1b[31m\u202e",
		"\r\n\n=\n==\nREADY", "READY=1\x00", "\x00", "MAINPID=-1\nMAINPID=+1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			if !reflect.DeepEqual(m, Message{}) {
				t.Errorf("an error and %+v", m)
			}
			return
		}
		if len(m.Status) > MaxStatus || !printable(m.Status) || !printable(m.Invalid) || !printable(m.BusError) ||
			!printable(m.VarlinkError) {
			t.Errorf("text that isn't safe: %+v", m)
		}
		if m.WatchdogTimeout < 0 || m.ExtendTimeout < 0 || m.MainPID < 0 || m.Errno < 0 {
			t.Errorf("a negative number: %+v", m)
		}
		if m.FDStore && m.FDStoreRemove || (m.FDStore || m.FDStoreRemove) && !validFDName(m.FDName) {
			t.Errorf("a store request that can't be met: %+v", m)
		}
		if m.Barrier && (m.Ready || m.HasStatus || m.FDStore || m.Watchdog) {
			t.Errorf("a barrier with more: %+v", m)
		}
		// The first assignment counts: saying it all again changes nothing.
		if again, err := Parse(append(append([]byte{}, data...), "\n"+string(data)...)); err == nil && len(data) > 0 &&
			data[len(data)-1] != 0 && !reflect.DeepEqual(again, m) {
			t.Errorf("twice: %+v\n once: %+v", again, m)
		}
	})
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	})
}
