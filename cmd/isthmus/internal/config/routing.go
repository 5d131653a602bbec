package config

import (
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/plugin/isthmus/locality"
)

// routing reads the routing policy. What its parts mean, and which values are
// right, package locality knows: here is only their form.
func (d *decoder) routing(to *locality.Routing, n *yaml.Node, path string) {
	fields := append(d.rules(&to.Rules, false), field{"services", func(n *yaml.Node, path string) {
		d.list(n, path, locality.MaxOverrides, func(n *yaml.Node, path string) {
			to.Services = append(to.Services, d.override(n, path))
		})
	}})
	d.object(n, path, fields...)
	for _, wrong := range to.Validate() {
		if at, ok := d.sound(wrong.Path); ok {
			d.add(at, "%s", wrong.Error())
		}
	}
	// Agents take no longer one. It stands for hundreds of rules, each in bounds.
	if text, err := to.Encode(); err != nil || len(text) > replica.MaxRouting {
		d.add(n, "%s: takes %d octets when agents are told it, at most %d are allowed: give fewer rules", path, len(text), replica.MaxRouting)
	}
}

// rules are the fields that stand in routing and in each of its services. There
// a list that is empty takes away what stands above.
func (d *decoder) rules(to *locality.Rules, inherited bool) []field {
	list := func(limit int, none func(), item read) read {
		return func(n *yaml.Node, path string) {
			if inherited && isNull(n) {
				d.add(n, "%s: want a list, got nothing: write [] for no rules, or remove the field to keep those of routing", path)
				return
			}
			if inherited {
				none()
			}
			d.list(n, path, limit, item)
		}
	}
	return []field{
		{"failover", list(locality.MaxRules, func() { to.Failover = []locality.Failover{} }, func(n *yaml.Node, path string) {
			to.Failover = append(to.Failover, d.failover(n, path))
		})},
		{"distribute", list(locality.MaxRules, func() { to.Distribute = []locality.Distribute{} }, func(n *yaml.Node, path string) {
			to.Distribute = append(to.Distribute, d.distribute(n, path))
		})},
		{"order", d.choice([]string{string(locality.OrderLocality), string(locality.OrderLatency)}, func(s string) { to.Order = locality.Order(s) })},
		{"affinity", d.choice([]string{string(locality.AffinityNone), string(locality.AffinityClient)}, func(s string) { to.Affinity = locality.Affinity(s) })},
	}
}

func (d *decoder) override(n *yaml.Node, path string) (o locality.Override) {
	fields := append([]field{{"match", d.text(&o.Match, anyText)}}, d.rules(&o.Rules, true)...)
	d.complete(n, path, fields, required{"match", "match: NAMESPACE/NAME, where * stands for any letters"})
	return o
}

func (d *decoder) failover(n *yaml.Node, path string) (f locality.Failover) {
	d.complete(n, path, []field{
		{"from", d.text(&f.From, anyText)},
		{"to", func(n *yaml.Node, path string) {
			d.list(n, path, locality.MaxFailover, func(n *yaml.Node, path string) {
				region := ""
				d.text(&region, anyText)(n, path)
				f.To = append(f.To, region)
			})
		}},
	}, required{"from", "from: REGION"}, required{"to", "to: [REGION, ...]"})
	return f
}

func (d *decoder) distribute(n *yaml.Node, path string) (r locality.Distribute) {
	d.complete(n, path, []field{
		{"from", d.text(&r.From, anyText)},
		{"to", func(n *yaml.Node, path string) { r.To = d.portions(n, path) }},
	}, required{"from", `from: "REGION/*"`}, required{"to", `to: {"REGION/*": PERCENT, ...}`})
	return r
}

// portions reads localities with their weights. The keys are the user's own.
func (d *decoder) portions(n *yaml.Node, path string) map[string]uint32 {
	to := map[string]uint32{}
	d.entries(n, path, locality.MaxPortions, `as in {"us-west1/*": 80, "us-central1/*": 20}`, func(key string, n *yaml.Node, path string) {
		s, ok := d.scalar(n, path, "!!int", "percent from 1 to 100")
		if !ok {
			return
		}
		v, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			d.add(n, "%s: want percent from 1 to 100, got %s", path, clip(s))
			return
		}
		to[key] = uint32(v)
	})
	return to
}

// anyText leaves it to locality to say what is wrong with a text.
func anyText(string) error { return nil }
