package tasks_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestReboot plays a reboot: /run is empty, the boot id is new, and no process is left.
// root's pauses, histories and successes must still be there.
func TestReboot(t *testing.T) {
	said := inWard(t, `
lifeline job -- true
lifeline pause --for 1h app >/dev/null
starts ./serve
kill -9 $sup $worker; wait $sup 2>/dev/null || :
mount -t tmpfs -o mode=755 none /run
echo 01234567-89ab-cdef-0123-456789abcdef >boot; mount --bind boot /proc/sys/kernel/random/boot_id
echo "--- status"; lifeline status
echo "--- history"; lifeline history job
echo "--- check"; lifeline check job --max-age 25h
echo "--- paused"; lifeline -v app -- touch "$work/ran"; ls "$work/ran" 2>&1 || :
echo "--- lost"; lifeline web -- true; lifeline history web
echo "--- end"
`, "")
	for _, want := range []string{
		`(?m)^app +paused until `, `(?m)^job +not running .* ok, `,
		`(?ms)^--- history\nSTART.*\n\d{4}-.* ok .*--- check`,
		`(?m)^LIFELINE OK - job: last success .* ago`,
		`(?m)^lifeline: app: paused; lifeline resume app ends that$`, `cannot access 'WORK/ran'`,
		`(?m)^\d{4}-.* the machine went down$`,
	} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("after the reboot it doesn't say %s:\n%s", want, strings.TrimSpace(said))
		}
	}
}
