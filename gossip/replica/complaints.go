package replica

import "time"

// complaintPause is after which the same complaint is logged again: watchers
// that are gone for a day shall not fill the log of every agent.
const complaintPause = time.Minute

// complaints are what was logged last of each watcher.
type complaints map[string]complaint

type complaint struct {
	text string
	at   time.Time
}

// due tells whether a complaint is to be logged now, and notes it if so.
func (c complaints) due(watcher, text string, now time.Time) bool {
	if last, ok := c[watcher]; ok && last.text == text && now.Sub(last.at) < complaintPause {
		return false
	}
	c[watcher] = complaint{text, now}
	return true
}
