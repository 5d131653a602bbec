// Package suggest finds the name that somebody who misspelt one had in mind.
// It knows nothing of what the names are of.
package suggest

import "strings"

// Nearest returns the known name that was most likely meant by an unknown one:
// one edit away, else one that begins like it, else two edits away. Empty if
// none is near. Letter case does not count.
func Nearest(unknown string, known []string) string {
	// Distances are quadratic in length; no field name is half as long.
	if len(unknown) > 64 {
		return ""
	}
	best, bestRank := "", 5
	lower := strings.ToLower(unknown)
	for _, k := range known {
		rank := 2 * distance(lower, strings.ToLower(k))
		if rank > 2 && len(lower) >= 3 && (strings.HasPrefix(k, lower) || strings.HasPrefix(lower, k)) {
			rank = 3
		}
		// Two edits make any short name out of any other.
		if rank < bestRank && (rank < 4 || len(k) >= 4) {
			best, bestRank = k, rank
		}
	}
	return best
}

// distance is Levenshtein's, by octets.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
