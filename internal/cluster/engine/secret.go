package engine

import (
	"os"
	"strings"
)

// Secrets are the credentials for an engine. They come from the environment or from
// files, because every user can read a command line (ps).
type Secrets struct{ User, Password, CACert, Cert, Key string }

// The environment variables of lifeline-remote.
const (
	EnvPrefix       = "LIFELINE_CLUSTER_PREFIX" // no secret: the team, for lifeline-remote's commands
	EnvUser         = "LIFELINE_CLUSTER_USER"
	EnvPassword     = "LIFELINE_CLUSTER_PASSWORD"
	EnvPasswordFile = "LIFELINE_CLUSTER_PASSWORD_FILE"
	EnvCACert       = "LIFELINE_CLUSTER_CACERT" // files, PEM
	EnvCert         = "LIFELINE_CLUSTER_CERT"
	EnvKey          = "LIFELINE_CLUSTER_KEY"
)

// ReadSecrets reads the secrets, a file without its last newlines.
func ReadSecrets() (Secrets, error) {
	s := Secrets{User: os.Getenv(EnvUser), Password: os.Getenv(EnvPassword),
		CACert: os.Getenv(EnvCACert), Cert: os.Getenv(EnvCert), Key: os.Getenv(EnvKey)}
	if path := os.Getenv(EnvPasswordFile); path != "" && s.Password == "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return s, Refuse("cannot read the password (%s): %v", EnvPasswordFile, err)
		}
		s.Password = strings.TrimRight(string(text), "\r\n")
	}
	return s, nil
}
