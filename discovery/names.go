package discovery

import (
	"errors"
	"fmt"
)

// MaxLabel is the length of a DNS label in octets (RFC 1035 section 2.3.4).
const MaxLabel = 63

// ValidLabel says why s is not a lower-case DNS label as Kubernetes wants
// names of namespaces, Services and clusters to be (RFC 1123): 1 to 63 of
// [a-z0-9-], alphanumeric at both ends. The error does not repeat s.
func ValidLabel(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	if len(s) > MaxLabel {
		return fmt.Errorf("has %d octets, at most %d are allowed", len(s), MaxLabel)
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (c != '-' || i == 0 || i == len(s)-1) {
			return errors.New("is not a lower-case DNS label (a-z, 0-9 and inner '-')")
		}
	}
	return nil
}

// validLabelValue says why s is not a non-empty Kubernetes label value.
func validLabelValue(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	if len(s) > MaxLabel {
		return fmt.Errorf("has %d octets, at most %d are allowed", len(s), MaxLabel)
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (c != '-' && c != '_' && c != '.' || i == 0 || i == len(s)-1) {
			return errors.New("wants letters, digits and inner '-', '_' or '.'")
		}
	}
	return nil
}

// validHostname says why s is not a lower-case DNS host name without a
// trailing dot: labels of ValidLabel, 253 octets at most (RFC 1123).
func validHostname(s string) error {
	if len(s) > 253 {
		return fmt.Errorf("has %d octets, at most 253 are allowed", len(s))
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			if err := ValidLabel(s[start:i]); err != nil {
				return fmt.Errorf("label %q %w", s[start:i], err)
			}
			start = i + 1
		}
	}
	return nil
}
