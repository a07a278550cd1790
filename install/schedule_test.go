package install

import (
	"strings"
	"testing"
)

// goodSchedules are also given to the real crontab(1).
var goodSchedules = []string{
	"* * * * *", "*/5 * * * *", "0-59/59 0-23/2 1-31 1-12 0-7", "1,2,3-5/2 * * * *", "*,5 * * * *", "*/2,3 * * * *",
	"05 007 * * *", "0 0 1 jan *", "0 0 * JAN-Mar,dec *", "* * * * 7", "* * * * sun-tue", "* * * * mon,1-3,SAT", "* * * * mon-fri/2",
	"@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly",
}

// plainly maps schedules to the form that every cron understands.
var plainly = strings.NewReplacer("0-7", "0-6", "* 7", "* 0", "jan", "1", "JAN-Mar,dec", "1-3,12", "sun-tue", "0-2",
	"mon,1-3,SAT", "1,1-3,6", "mon-fri/2", "1-5/2")

func TestGoodSchedules(t *testing.T) {
	for _, s := range goodSchedules {
		if got, err := parseSchedule(s); err != nil || got != plainly.Replace(s) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func TestBadSchedules(t *testing.T) {
	tests := []struct {
		schedule string
		parts    []string
	}{
		{"", []string{"five"}},
		{"* * * *", []string{"4 fields", "five"}},
		{"* * * * * *", []string{"6 fields", "five"}},
		{"@noon", []string{`"@noon"`, "@midnight"}},
		{"@Reboot", []string{"@reboot"}},
		{"60 * * * *", []string{"minute", "0 to 59"}},
		{"0-60 * * * *", []string{"minute", `"60"`, "0 to 59"}},
		{"-1 * * * *", []string{"minute", "0 to 59"}},
		{"+1 * * * *", []string{"minute", "0 to 59"}},
		{"1,,2 * * * *", []string{"minute", "0 to 59"}},
		{"5/10 * * * *", []string{"minute", "*/10", "0 to 59"}},
		{"*/0 * * * *", []string{"minute", "step", "1 to 59"}},
		{"*/90 * * * *", []string{"minute", "step", "1 to 59"}},
		{"*/ * * * *", []string{"minute", "step"}},
		{"5-1 * * * *", []string{"minute", "backwards", "0 to 59"}},
		{"5* * * * *", []string{"minute", "0 to 59"}},
		{"1-5-7 * * * *", []string{"minute", "0 to 59"}},
		{"99999999999999999999 * * * *", []string{"minute", "0 to 59"}},
		{"* 24 * * *", []string{"hour", "0 to 23"}},
		{"* * 0 * *", []string{"day of month", "1 to 31"}},
		{"* * 32 * *", []string{"day of month", "1 to 31"}},
		{"* * * 0 *", []string{"month", "1 to 12 (or jan to dec)"}},
		{"* * * january *", []string{"month", "jan to dec"}},
		{"* * * * 8", []string{"day of week", "0 to 7 (or sun to sat)"}},
		{"* * * * fri-sun", []string{"day of week", "backwards", "sun to sat"}},
		{"jan * * * *", []string{"minute", `"jan"`}},
		{"0 0 30 2 *", []string{"never comes"}},
		{"0 0 31 feb,apr,6,9,11 *", []string{"never comes"}},
		{"0 0 30,31 2 */2", []string{"never comes"}},
		{"? * * * *", []string{"minute", `"?"`}},
	}
	for _, test := range tests {
		t.Run(test.schedule, func(t *testing.T) {
			_, err := parseSchedule(test.schedule)
			wantError(t, err, test.parts...)
		})
	}
}

// TestSundayIsZero checks that Sunday is written as 0, because busybox runs a 7 on
// every day of the week.
func TestSundayIsZero(t *testing.T) {
	for from, to := range map[string]string{
		"7": "0", "5-7": "5-6,0", "0-7": "0-6", "1-7/2": "1,3,5,0", "7,1": "0,1", "*/7": "*/7", "*": "*", "fri-7": "5-6,0",
		"0-6": "0-6", "7-7": "0", "0-7/7": "0,0", "2-7/7": "2-7/7",
	} {
		if got, err := parseSchedule("0 0 * * " + from); err != nil || got != "0 0 * * "+to {
			t.Errorf("%s: %q, %v", from, got, err)
		}
	}
}

func TestDatesThatCome(t *testing.T) {
	for _, s := range []string{"0 0 29 2 *", "0 0 30 2 1", "0 0 31 4,5 *", "0 0 */31 2 *", "0 0 30 2 0-6"} {
		if _, err := parseSchedule(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestCheckTick(t *testing.T) {
	for tick, part := range map[string]string{
		"0 3 * * *": "", "CRON_TZ=Europe/Berlin 0 3 * * *": "", "TZ=UTC @hourly": "",
		"0 0 30 2 *": "never comes", "0 0 3 * * *": "6 fields", "0 0 3 * * * 2020": "7 fields", "0 0 1 1 * 2020": "6 fields", "@reboot": "cluster", "@every 5m": "fields",
	} {
		if err := CheckTick(tick); (err == nil) != (part == "") || err != nil && !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", tick, err)
		}
	}
}
