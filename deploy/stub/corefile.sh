#!/bin/sh
# Puts the stub of `global` into the Corefile on standard input, or takes it out,
# as often as one likes:
#
#   corefile.sh add ADDRESS <Corefile >Corefile.new
#   corefile.sh remove      <Corefile >Corefile.new
#
# ADDRESS is the cluster IP of the Service isthmus-dns.
set -eu

case ${1-} in
add) : "${2?usage: corefile.sh add ADDRESS}" ;;
remove) ;;
*) echo "usage: corefile.sh add ADDRESS | remove" >&2; exit 2 ;;
esac

# The block ends at the brace that stands where it began; "kubectl get -o
# jsonpath" gives no newline at the end.
awk '
	/^global:53 \{/ { inside = 1 }
	!inside { print }
	inside && /^\}/ { inside = 0 }
'
if [ "$1" = add ]; then
	sed "s/10\.96\.0\.53/$2/" "$(dirname "$0")/global.corefile"
fi
