package doctor

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPAM tests the result of each stack for given answers of its modules; the answer of
// asks.so is unknown. proof/cron tests the same under a real cron.
func TestPAM(t *testing.T) {
	says := map[string]string{"good.so": "success", "bad.so": "perm_denied", "old.so": "new_authtok_reqd",
		"none.so": "ignore"}
	pamDir = t.TempDir()
	defer func() { pamDir = "/etc/pam.d" }()
	for file, text := range map[string]string{"denies": "account requisite bad.so\n",
		"ends": "account sufficient good.so\n"} {
		if err := os.WriteFile(filepath.Join(pamDir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"account required good.so":                                                                       "success",
		"account required bad.so\naccount required good.so":                                              "perm_denied",
		"account optional bad.so\naccount required good.so":                                              "success",
		"account sufficient good.so\naccount required bad.so":                                            "success",
		"account sufficient bad.so\naccount required good.so":                                            "success",
		"account requisite bad.so\naccount sufficient good.so":                                           "perm_denied",
		"account required none.so":                                                                       "", // no module answers success
		"session required bad.so\naccount required good.so":                                              "success",
		"-account required bad.so # why\naccount required \\\n good.so":                                  "perm_denied",
		"account [success=1 default=ignore] good.so\naccount requisite bad.so\naccount required good.so": "success",
		"account [success=1 new_authtok_reqd=done default=ignore] old.so\naccount requisite bad.so":      "new_authtok_reqd",
		"account [success=1 default=ignore] bad.so\naccount requisite bad.so\naccount required good.so":  "perm_denied",
		"account [default=bad success=ok user_unknown=ignore] good.so":                                   "success",
		"account include denies\naccount required good.so":                                               "perm_denied",
		"@include ends\naccount required bad.so":                                                         "success",
		"account substack ends\naccount required bad.so":                                                 "perm_denied",
		"account substack denies\naccount sufficient good.so":                                            "perm_denied",
		"account required good.so\naccount required asks.so":                                             "success, asks.so",
		"account sufficient asks.so\naccount required good.so":                                           "success",
		"account required bad.so\naccount required asks.so":                                              "perm_denied",
		"account sufficient good.so\naccount required asks.so":                                           "success",
	} {
		if err := os.WriteFile(filepath.Join(pamDir, "cron"), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, unknown := judgePAM(readPAM("cron", "account"), func(r pamRule) string { return says[r.module] })
		if unknown != "" {
			got += ", " + unknown
		}
		if got != want {
			t.Errorf("%s\n: %q, want %q", text, got, want)
		}
	}
}

// TestMayEnter tests tables of access.conf(5).
func TestMayEnter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.conf")
	root := person{name: "root", isLocal: true} // a group has the same name
	for text, want := range map[string]bool{
		"":                                  true,
		"-:root:ALL":                        false,
		"-:ALL:ALL":                         false,
		"# -:ALL:ALL":                       true,
		"+:root:cron crond\n-:ALL:ALL":      true,
		"+ : root : cron :0\n- : ALL : ALL": true,
		"+:root:tty1\n-:ALL:ALL":            false,
		"-:ALL EXCEPT root:ALL":             true,
		"-:ALL EXCEPT ann bob:ALL":          false,
		"-:ALL:ALL EXCEPT LOCAL":            true,
		"-:root:192.0.2. .example.org":      true,
		"-:(root):cron":                     false,
		"-:(nosuchgroup):cron":              true,
	} {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		rule := pamRule{module: "pam_access.so", args: []string{"accessfile=" + file}}
		if got, _, known := mayEnter(rule, root); got != want || !known {
			t.Errorf("%s: %v (known: %v), want %v", text, got, known, want)
		}
	}
	if _, _, known := mayEnter(pamRule{args: []string{"accessfile=" + file}}, root); !known {
		t.Error("all of the last table is known")
	}
	if err := os.WriteFile(file, []byte("-:@staff:ALL\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, known := mayEnter(pamRule{args: []string{"accessfile=" + file}}, root); known {
		t.Error("who is in a netgroup isn't known here")
	}
}
