//go:build !linux

package doctor

// limits reports nothing, because this system has no pam_limits(8).
func (d *Doctor) limits(person, []pamRule) {}
