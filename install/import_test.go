package install

import (
	"strings"
	"testing"
)

func TestImport(t *testing.T) {
	for _, tt := range []struct{ file, text, want string }{
		{"tab", "*/5 * * * * flock -n /var/lock/report.lock /usr/local/bin/report --all\n", "install --schedule */5 * * * * report -- /usr/local/bin/report --all"},
		{"tab", "0 3 * * * cd /srv && flock -w 30 -E 75 /tmp/b.lock -c 'pg_dump | gzip >x'\n", "install --schedule 0 3 * * * --chdir /srv --conflict-exit-code 75 --wait 30s b -- sh -c pg_dump | gzip >x"},
		{"tab", "* * * * * flock /tmp/w.lock worker\n", "install w -- worker # waiting for the lock without a limit (flock without -n): --wait TIME, if it has to run after all"},
		{"tab", "@daily run-one rsync -a /a /b\n", "install --schedule @daily rsync -- rsync -a /a /b"},
		{"tab", "* * * * * keep-one-running /srv/serve\n", "install --respawn serve -- /srv/serve"},
		{"tab", "@hourly chronic flock -n /run/x.pid backup\n", "install --schedule @hourly --quiet x -- backup"},
		{"tab", "@hourly flock -n /run/x.pid chronic backup a\n", "install --schedule @hourly --quiet x -- backup a"},
		{"tab", "* * * * * setlock -n /tmp/q.lock qrun\n", "install q -- qrun"},
		{"tab", "A=b\n# * * * * * flock -n x y\n* * * * * echo plain\n", ""},
		{"Procfile", "web: bundle exec puma -p $PORT\nworker: bin/work\n", "install --respawn web -- sh -c bundle exec puma -p $PORT # PORT: give --env PORT=…; install --respawn worker -- bin/work"},
		{"supervisord.conf", "[supervisord]\nx=y\n[program:web]\ncommand=/srv/web --port 80\ndirectory=/srv\nautorestart=true\nstopwaitsecs=5\nexitcodes=0\n",
			"install --chdir /srv --kill-after 5s --respawn web -- /srv/web --port 80 # exitcodes"},
		{"ecosystem.json", `{"apps":[{"name":"api","script":"api.js","args":"-v","cwd":"/srv","env":{"A":1},"instances":4}]}`,
			"install --respawn --chdir /srv --env A=1 api -- node api.js -v # instances 4: one name for each, or a server that forks"},
		{"db.service", "[Unit]\nDescription=x\n[Service]\nType=notify\nExecStart=/usr/bin/db -c /etc/db\nRestart=on-failure\nRestartSec=2\nUser=db\nPrivateTmp=yes\n",
			"install --notify --respawn-delay 2s --cron-d --user db --respawn --respawn-on failure db -- /usr/bin/db -c /etc/db # PrivateTmp"},
		{"job.service", "[Service]\nExecStart=/bin/job\nRestartSec=2\nTimeoutStopSec=1min\n", "install --kill-after 1m job -- /bin/job"},
	} {
		list, err := Import(tt.file, tt.text)
		if err != nil {
			t.Errorf("%s %q: %v", tt.file, tt.text, err)
		}
		var got []string
		for _, i := range list {
			line := strings.Join(i.Words(), " ")
			if len(i.Missing) > 0 {
				line += " # " + strings.Join(i.Missing, "; ")
			}
			got = append(got, line)
		}
		if text := strings.Join(got, "; "); text != tt.want {
			t.Errorf("%s %q:\n%s\nnot\n%s", tt.file, tt.text, text, tt.want)
		}
	}
	if _, err := Import("x.service", "[Unit]\n"); err == nil {
		t.Error("a unit without ExecStart")
	}
	if _, err := Import("x.json", "nonsense"); err == nil {
		t.Error("no JSON")
	}
}

func FuzzImport(f *testing.F) {
	f.Add("tab", "* * * * * chronic flock -n x -c 'y'\n")
	f.Add("tab", "* * * * * run-this-one\n* * * * * setlock -n\n* * * * * flock -w\n* * * * * nice chronic\n")
	f.Add("x.service", "[Service]\nExecStart=\n")
	f.Add("x.json", `{"apps":[{"script":1}]}`)
	f.Fuzz(func(t *testing.T, file, text string) {
		list, _ := Import(file, text)
		for _, i := range list {
			if !validName().MatchString(i.Name) || len(i.Command) == 0 {
				t.Errorf("%q %q: %+v", file, text, i)
			}
		}
	})
}
