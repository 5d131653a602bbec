package isthmus

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// questionError is an ErrQuestion that says what is wrong.
type questionError string

// Error implements error.
func (e questionError) Error() string { return string(e) }

// Is makes it one.
func (questionError) Is(target error) bool { return target == ErrQuestion }

// find finds the service that a name means, nil if there is none.
func (x *Explainer) find(name string) *discovery.Entry {
	name, key := keyIn(name)
	if len(name) > maxName {
		return nil
	}
	if e := x.known.Table().Lookup(key); e != nil {
		return e
	}
	return x.known.Table().Alias(name)
}

// keyIn is a name as the table has names, and the service that it names if it is
// no alias.
func keyIn(name string) (plain string, key discovery.Key) {
	plain = strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(name), "."), labelWhy+".")
	service, rest, _ := strings.Cut(plain, ".")
	namespace, _, _ := strings.Cut(rest, ".")
	return plain, discovery.MakeKey(namespace, service)
}

// unknown is the error for a name that find doesn't find.
func (x *Explainer) unknown(name string) error {
	plain, key := keyIn(name)
	if !strings.Contains(plain, ".") {
		return questionError(fmt.Sprintf("name %.255q: want NAME.NAMESPACE, with or without a zone, or an alias", name))
	}
	if near := x.like(key); near != "" {
		return fmt.Errorf("service %.255q: %w, did you mean %q?", name, ErrUnknownService, near)
	}
	return fmt.Errorf("service %.255q: %w", name, ErrUnknownService)
}

// like is the service that was probably meant: one of a similar name in the
// namespace, or of the same name in another one; "" for none.
func (x *Explainer) like(key discovery.Key) discovery.Key {
	namespace, service := key.Split()
	var names, elsewhere []string
	x.known.Table().Walk(func(e *discovery.Entry) bool {
		switch ns, name := e.Key.Split(); {
		case ns == namespace:
			names = append(names, name)
		case name == service:
			elsewhere = append(elsewhere, ns)
		}
		return len(names)+len(elsewhere) < maxLike
	})
	if near := nearest(service, names); near != "" {
		return discovery.MakeKey(namespace, near)
	}
	if len(elsewhere) > 0 {
		return discovery.MakeKey(cmp.Or(nearest(namespace, elsewhere), slices.Min(elsewhere)), service)
	}
	return ""
}

// maxLike bounds the names that a mistake is compared with; each takes a
// microsecond.
const maxLike = 10_000

// unknownCluster is the error for a cluster that can't be drained.
func unknownCluster(name string, records []*discovery.Cluster) error {
	names := make([]string, len(records))
	for i, c := range records {
		names[i] = c.Name
	}
	if near := nearest(name, names); near != "" {
		return questionError(fmt.Sprintf("without %.63q: no such cluster, did you mean %q?", name, near))
	}
	return questionError(fmt.Sprintf("without %.63q: no such cluster", name))
}
