package scale

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process takes.
type usage struct {
	resident, peak int64 // octets
	file           int64 // of resident: mapped files, which is the program itself
	processor      time.Duration
	threads        int
}

// clockTick is USER_HZ, which is 100 on all of Go's Linux ports.
const clockTick = 10 * time.Millisecond

// usageOf reads /proc (proc_pid_status(5), proc_pid_stat(5)).
func usageOf(pid int) (usage, error) {
	var u usage
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64) // 0 for lines that are no numbers
		switch f[0] {
		case "VmRSS:":
			u.resident = n << 10
		case "RssFile:":
			u.file = n << 10
		case "VmHWM:":
			u.peak = n << 10
		case "Threads:":
			u.threads = int(n)
		}
	}
	if text, err = os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil {
		return u, err
	}
	// The name, in parentheses, may hold spaces; what follows begins with field 3.
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(f) < 13 {
		return u, fmt.Errorf("stat of %d has %d fields", pid, len(f))
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	u.processor = time.Duration(user+system) * clockTick
	return u, nil
}
