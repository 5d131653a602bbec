package isthmus

// nearest returns the word that a typo was probably meant to be: the one with
// the smallest edit distance, if that is below half of the word's length. Ties
// go to the word that sorts first.
func nearest(typo string, words []string) string {
	// Long input can't be near and would cost quadratic time.
	if len(typo) > 32 {
		return ""
	}
	best, bestDistance := "", 0
	for _, w := range words {
		d := distance(typo, w)
		if 2*d < len(w) && (best == "" || d < bestDistance || d == bestDistance && w < best) {
			best, bestDistance = w, d
		}
	}
	return best
}

// distance is the Levenshtein distance in octets.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
