package kube

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// fingerprint tells whether a record changed since it was handed out. The
// record itself can't be kept for that: an Update belongs to its receiver.
// JSON takes in every field of the model, also those that come later.
func fingerprint(record any) [sha256.Size]byte {
	data, err := json.Marshal(record)
	if err != nil { // no type of the model can cause it
		data = fmt.Appendf(nil, "%+v", record)
	}
	return sha256.Sum256(data)
}
