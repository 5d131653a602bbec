#!/bin/sh
# Puts the stub of `global` into the Corefile on standard input, or takes it out,
# as often as one likes:
#
#   corefile.sh add ADDRESS <Corefile >Corefile.new
#   corefile.sh remove      <Corefile >Corefile.new
#
# ADDRESS is the cluster IP of the Service isthmus-dns.
set -eu

usage() {
	echo "usage: corefile.sh add ADDRESS | remove" >&2
	exit 2
}

case ${1-} in
add)
	case ${2-} in
	'' | *[!0-9a-fA-F.:]*) usage ;; # no address: "None", say, or nothing because kubectl failed
	esac
	;;
remove) ;;
*) usage ;;
esac

# The block ends at the brace that stands where it began; "kubectl get -o
# jsonpath" gives no newline at the end.
rest=$(awk '
	/^global:53 \{/ { inside = 1 }
	!inside { print }
	inside && /^\}/ { inside = 0 }
')
# A Corefile with nothing else in it would leave a cluster without DNS.
if [ -z "$rest" ]; then
	echo "corefile.sh: no Corefile on standard input" >&2
	exit 1
fi
printf '%s\n' "$rest"
if [ "$1" = add ]; then
	sed "s/10\.96\.0\.53/$2/" "$(dirname "$0")/global.corefile"
fi
