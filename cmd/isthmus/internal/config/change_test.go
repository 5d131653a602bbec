package config

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryFieldIsNoticed: whoever adds a field says here whether it can change
// while a watcher runs.
func TestEveryFieldIsNoticed(t *testing.T) {
	before, err := Parse("conf/watcher.yaml", []byte(whole))
	require.NoError(t, err)
	require.Equal(t, Change{}, before.ChangeTo(before))
	var fields func(v reflect.Value, at []int) [][]int
	fields = func(v reflect.Value, at []int) (all [][]int) {
		for i := range v.NumField() {
			path := append(append([]int{}, at...), i)
			switch f := v.Type().Field(i); {
			case !f.IsExported():
			case f.Type == reflect.TypeFor[Gossip]():
				all = append(all, fields(v.Field(i), path)...)
			default:
				all = append(all, path)
			}
		}
		return all
	}
	noticed := map[string]bool{}
	for _, path := range fields(reflect.ValueOf(*before), nil) {
		next := *before
		field := reflect.ValueOf(&next).Elem().FieldByIndex(path)
		if field.IsZero() {
			require.Equal(t, reflect.TypeFor[Config]().FieldByIndex(path).Type, field.Type())
			setSome(t, field)
		} else {
			field.SetZero()
		}
		change := before.ChangeTo(&next)
		require.Len(t, append(change.Live, change.Restart...), 1, "%v", reflect.TypeFor[Config]().FieldByIndex(path).Name)
		for _, name := range change.Live {
			noticed[name] = true
			require.Equal(t, Change{}, next.ChangeTo(before.WithLive(&next)), "taken over")
		}
		for _, name := range change.Restart {
			noticed[name] = true
			require.Equal(t, Change{}, before.ChangeTo(before.WithLive(&next)), "left")
		}
	}
	require.Len(t, noticed, len(parts))
}

// setSome makes a zero value another one.
func setSome(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Struct:
		setSome(t, v.Field(0))
	default:
		t.Fatalf("say what %s may be", v.Type())
	}
}

func TestChange(t *testing.T) {
	parse := func(text string) *Config {
		c, err := Parse("watcher.yaml", after(text))
		require.NoError(t, err)
		return c
	}
	before := parse("routing: {order: latency}\ngossip: {advertise: a}\nhttp: 127.0.0.1:1")
	next := parse("routing: {order: latency, affinity: client}\ngossip: {advertise: b, join: [c]}\nhttp: 127.0.0.1:1\nhealth: {interval: 9s}")
	require.Equal(t, Change{Live: []string{"gossip.join", "routing", "health"}, Restart: []string{"gossip.advertise"}}, before.ChangeTo(next))
	taken := before.WithLive(next)
	require.Equal(t, Change{Restart: []string{"gossip.advertise"}}, taken.ChangeTo(next))
}
