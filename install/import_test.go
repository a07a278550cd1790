package install

import (
	"strings"
	"testing"
)

func TestImport(t *testing.T) {
	for _, tt := range []struct{ file, text, want string }{
		{"tab", "*/5 * * * * flock -n /var/lock/report.lock /usr/local/bin/report --all\n",
			"install --schedule */5 * * * * report -- /usr/local/bin/report --all"},
		{"tab", "0 3 * * * cd /srv && flock -w 30 -E 75 /tmp/b.lock -c 'pg_dump | gzip >x'\n",
			"install --schedule 0 3 * * * --chdir /srv --conflict-exit-code 75 --wait 30s b -- sh " +
				"-c pg_dump | gzip >x"},
		{"tab", "* * * * * flock /tmp/w.lock worker\n",
			"install w -- worker # waiting for the lock without a limit (flock without -n): --wait TIME, if it has " +
				"to run after all"},
		{"tab", "@daily run-one rsync -a /a /b\n", "install --schedule @daily rsync -- rsync -a /a /b"},
		{"tab", "* * * * * keep-one-running /srv/serve\n", "install --respawn serve -- /srv/serve"},
		{"tab", "@hourly chronic flock -n /run/x.pid backup\n", "install --schedule @hourly --quiet x -- backup"},
		{"tab", "@hourly flock -n /run/x.pid chronic backup a\n", "install --schedule @hourly --quiet x -- backup a"},
		{"tab", "* * * * * setlock -n /tmp/q.lock qrun\n", "install q -- qrun"},
		{"tab", "A=b\n# * * * * * flock -n x y\n* * * * * echo plain\n", ""},
		{"/app/Procfile", "web: bundle exec puma -p $PORT\nworker: bin/work\n",
			"install --chdir /app --respawn web -- sh -c bundle exec puma -p $PORT # PORT: give --env PORT=…; " +
				"install --chdir /app --respawn worker -- bin/work"},
		{"supervisord.conf", "[supervisord]\nx=y\n[program:web]\ncommand=/srv/web --port " +
			"80\ndirectory=/srv\nautorestart=true\nstopwaitsecs=5\nexitcodes=0\n",
			"install --chdir /srv --kill-after 5s --respawn web -- /srv/web --port 80 # exitcodes"},
		{"ecosystem.json", `{"apps":[{"name":"api","script":"api.js","args":"-v","cwd":"/srv","env":{"A":1},"instances":4}]}`,
			"install --chdir /srv --env A=1 --respawn api -- node api.js -v # instances 4: one name for each, or a " +
				"server that forks"},
		{"db.service", "[Unit]\nDescription=x\n[Service]\nType=notify\nExecStart=/usr/bin/db -c " +
			"/etc/db\nRestart=on-failure\nRestartSec=2\nUser=db\nPrivateTmp=yes\n",
			"install --notify --respawn-delay 2s --cron-d --user db --respawn --respawn-on failure db -- /usr/bin/db " +
				"-c /etc/db # PrivateTmp"},
		// What was misread in public files: users in a column, letters in one word, what is
		// redirected, timeout(1) in front.
		{"/etc/cron.d/x", "*/5 * * * * root /usr/bin/flock -xn /tmp/x.lock /opt/x/run >> /var/log/x.log 2>&1\n",
			"install --schedule */5 * * * * --cron-d --user root --log /var/log/x.log x -- /opt/x/run"},
		{"tab", "* * * * * cd /srv/app && flock -n /tmp/s.lock php artisan schedule:run > /dev/null 2>&1\n",
			"install --chdir /srv/app s -- php artisan schedule:run # the redirection >/dev/null: what it prints is " +
				"cron's mail, or give --quiet"},
		{"tab", "* * * * * timeout -k 5 300 flock -w 0 /tmp/t.lock poll 2>/tmp/err\n",
			"install --max-runtime 300s t -- poll # the redirection 2>/tmp/err"},
		{"tab", "* * * * * flock -w10 /tmp/t.lock poll &>>/tmp/all\n", "install --wait 10s --log /tmp/all t -- poll"},
		// Comments behind values, values that go on, names in values.
		{"conf", "[program:blog]\ncommand = python app.py 80 ; the program\nnumprocs=1   ; " +
			"copies\nautostart = true\t; at " +
			"once\nautorestart=true\nuser=weet ; unix\n" +
			"environment = \n\tA=\"x,y\",\n\tB='z w', " +
			"C=1\nstdout_logfile=/var/log/%(program_name)s.log\nstdout_logfile_maxbytes=20MB\nstdout_logfile_backups=3\nstderr_logfile=/x\n",
			"install --cron-d --user weet --env A=x,y --env B=z w --env C=1 --log /var/log/blog.log --log-max-size " +
				"20MB --log-keep 3 --respawn blog -- python app.py 80 # stderr_logfile"},
		{"conf", "[program:bot]\ncommand=python3 bot.py " +
			"%(ENV_TOKEN)s\nprocess_name=%(program_name)s_%(process_num)02d\nautostart=false\nstdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\n",
			"install --respawn --respawn-on failure bot -- sh -c python3 bot.py %(ENV_TOKEN)s # command: what " +
				"%(ENV_TOKEN)s stands for; autostart=false: cron starts it; lifeline disable bot keeps it down"},
		{"/app/eco.json", `{"apps":[{"name":"form dee","script":"npm","args":"start","cwd":"./","autorestart":true,"watch":false,"max_memory_restart":"2G","out_file":"./logs/o.log","time":true,"kill_timeout":5000}]}`,
			"install --chdir /app --respawn --kill-after 5000ms --max-memory 2G --log /app/logs/o.log --timestamps " +
				"form-dee -- npm start"},
		{"/app/eco.json", `[{"script":"./bin/www","node_args":"--max-old-space-size=2048","autorestart":false,"restart_delay":100}]`,
			"install --chdir /app www -- node --max-old-space-size=2048 ./bin/www"},
		{"sidekiq.service", "[Service]\nType=simple\nEnvironment=NODE_VERSION=lts/gallium MALLOC_ARENA_MAX=2 \"A=b " +
			"c\"\nExecStart=/bin/bash -lc 'bundle exec " +
			"sidekiq'\nUMask=0002\nStandardOutput=append:/var/log/s.log\nLimitNOFILE=9\n",
			"install --env NODE_VERSION=lts/gallium --env MALLOC_ARENA_MAX=2 --env A=b c --umask 0002 --log " +
				"/var/log/s.log sidekiq -- /bin/bash -lc bundle exec sidekiq # LimitNOFILE"},
		{"gunicorn.service", "[Service]\nExecStart=/env/bin/gunicorn \\\n          --workers 3 \\\n          " +
			"wsgi:application\n", "install gunicorn -- /env/bin/gunicorn --workers 3 wsgi:application"},
		{"job.service", "[Service]\nExecStart=/bin/job\nRestartSec=2\nTimeoutStopSec=1min\n",
			"install --kill-after 1m job -- /bin/job"},
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
	if _, err := Import("ecosystem.config.js", "module.exports = {apps: []}"); err == nil ||
		!strings.Contains(err.Error(), `require("./ecosystem.config.js")`) {
		t.Errorf("a program: %v", err)
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
			unread := i.Line > 0 && i.Name == "" && i.Command == nil && len(i.Missing) == 1
			if !unread && (!validName().MatchString(i.Name) || len(i.Command) == 0) {
				t.Errorf("%q %q: %+v", file, text, i)
			}
		}
	})
}
