package discovery

import (
	"fmt"
	"strings"
)

// Locality is where something runs, from wide to narrow. The meaning is that
// of Envoy's core.v3.Locality and Istio's locality: a region holds zones, a
// zone holds subzones. An empty field is "unknown" and matches nothing.
type Locality struct {
	Region, Zone, Subzone string
}

// ParseLocality reads "region", "region/zone" or "region/zone/subzone", the
// form Istio uses. The empty string is the unknown locality. Segments are
// limited to 63 octets of letters, digits, '-', '_' and '.', which is what a
// Kubernetes label value allows.
func ParseLocality(s string) (Locality, error) {
	if s == "" {
		return Locality{}, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) > 3 {
		return Locality{}, fmt.Errorf("locality %q: has %d segments, want region[/zone[/subzone]]", clip(s), len(parts))
	}
	for _, p := range parts {
		if err := validLabelValue(p); err != nil {
			return Locality{}, fmt.Errorf("locality %q: segment %q: %w", clip(s), clip(p), err)
		}
	}
	parts = append(parts, "", "")
	return Locality{Region: parts[0], Zone: parts[1], Subzone: parts[2]}, nil
}

// String is the form that ParseLocality reads; "" for the unknown locality.
func (l Locality) String() string {
	switch {
	case l.Subzone != "":
		return l.Region + "/" + l.Zone + "/" + l.Subzone
	case l.Zone != "":
		return l.Region + "/" + l.Zone
	}
	return l.Region
}

// Validate checks that no narrow field is set under an empty wide one, and
// that each field is a label value.
func (l Locality) Validate() error {
	if l.Region == "" && (l.Zone != "" || l.Subzone != "") || l.Zone == "" && l.Subzone != "" {
		return fmt.Errorf("locality %q: a zone needs a region and a subzone needs a zone", clip(l.Region+"/"+l.Zone+"/"+l.Subzone))
	}
	_, err := ParseLocality(l.String())
	return err
}
