// Package config reads watcher.yaml, the file that tells a watcher which
// cluster it speaks for, where that cluster's services come from, and how to
// reach the other clusters.
//
// The file is read strictly and whole: every mistake in it is found at once,
// and each is one line with the file, the line and what to write instead.
// Nothing is accepted that this version does not act on. The package starts
// nothing, opens no other file and knows no default that depends on the
// machine; whether the files and addresses it names exist is for the command
// to find out, which asks [Config.Problem] for the same kind of line.
//
// # What is accepted of other clusters
//
//	forget: 24h                              # silent for so long: dropped; 10m to 8760h
//	import:
//	  clusters: {allow: ["*"], deny: []}     # patterns; "*" stands for any text
//	  rules:                                 # the first that matches a cluster is its rule
//	    - clusters: ["west*"]                # required
//	      namespaces: [payments, "shop-*"]   # all if left out
//	      services: 500                      # no quota if left out
//	      octets: 4MiB                       # the same; a number, or with KiB, MiB, GiB
//	      aliases: false                     # true if left out
//
// The whole file stands in cmd/isthmus/README.md. What routing and health mean
// and which values are right packages locality and probe say; here is their
// form, and the line of what they complain about.
//
// A watcher that runs takes over what it can of a changed file: [Config.ChangeTo]
// tells that from the rest.
package config
