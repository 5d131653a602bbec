package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// LifeMark begins the line before each life of a process in its log; whoever
// starts the process writes it, and a line's end before it.
const LifeMark = "=== life "

// What a node logs, gossip/replica/commitlog.go.
const (
	committed = "part committed"
	dropped   = "part dropped"
)

// ReadLog reads a node's log: a watcher's JSON lines or an agent's CoreDNS
// lines. Other lines are passed over, and so is one that the end of a life cut
// off.
func ReadLog(node string, log io.Reader) ([]Commit, error) {
	lines := bufio.NewReaderSize(log, 64<<10)
	var commits []Commit
	var torn error // of the line before
	life := 0
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("log of %s: %w", node, err)
		}
		if err != nil { // what is not a whole line yet is cut off
			return commits, torn
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, LifeMark):
			life++
			torn = nil
			continue
		case torn != nil && line != "":
			return nil, torn
		case !strings.Contains(line, committed) && !strings.Contains(line, dropped):
			continue
		}
		c, err := read(line)
		if err != nil {
			torn = fmt.Errorf("log of %s, line %d: %w", node, n, err)
			continue
		}
		c.Node, c.Line = Node{node, life}, n
		commits = append(commits, c)
	}
}

func read(line string) (Commit, error) {
	f, err := parse(line)
	if err != nil {
		return Commit{}, err
	}
	return f.commit()
}

// fields are a log line's attributes; "msg" is its message.
type fields map[string]string

var errNoMessage = errors.New("no message before the attributes")

func parse(line string) (fields, error) {
	if strings.HasPrefix(line, "{") {
		return parseJSON(line)
	}
	return parseText(line)
}

func parseJSON(line string) (fields, error) {
	values := map[string]any{}
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber() // epochs have 64 bits
	if err := decoder.Decode(&values); err != nil {
		return nil, err
	}
	f := fields{}
	for key, value := range values {
		f[key] = fmt.Sprint(value)
	}
	return f, nil
}

// parseText reads "[DEBUG] plugin/isthmus: message key=value key="a value"".
func parseText(line string) (fields, error) {
	at := max(strings.Index(line, committed), strings.Index(line, dropped))
	message := committed
	if !strings.HasPrefix(line[at:], committed) {
		message = dropped
	}
	f := fields{"msg": message}
	rest := strings.TrimSpace(line[at+len(message):])
	for rest != "" {
		key, value, ok := strings.Cut(rest, "=")
		if !ok || strings.ContainsAny(key, ` "`) {
			return nil, fmt.Errorf("attribute %q: %w", rest, errNoMessage)
		}
		if strings.HasPrefix(value, `"`) {
			quotedText, err := strconv.QuotedPrefix(value)
			if err != nil {
				return nil, fmt.Errorf("attribute %s: %w", key, err)
			}
			if f[key], err = strconv.Unquote(quotedText); err != nil {
				return nil, fmt.Errorf("attribute %s: %w", key, err)
			}
			rest = strings.TrimSpace(value[len(quotedText):])
			continue
		}
		f[key], rest, _ = strings.Cut(value, " ")
	}
	return f, nil
}

func (f fields) commit() (Commit, error) {
	c := Commit{Time: f["time"], Cluster: f["cluster"], UID: f["uid"], Root: f["root"], Changed: map[string]string{}}
	if f["msg"] == dropped {
		c.Dropped = true
		return c, nil
	}
	for key, into := range map[string]*uint64{"epoch": &c.Epoch, "seq": &c.Seq} {
		n, err := strconv.ParseUint(f[key], 10, 64)
		if err != nil {
			return c, fmt.Errorf("%s: %w", key, err)
		}
		*into = n
	}
	var err error
	if c.Items, err = strconv.Atoi(f["items"]); err != nil {
		return c, fmt.Errorf("items: %w", err)
	}
	for _, text := range strings.Fields(f["changed"]) {
		key, digest, ok := strings.Cut(text, "@")
		if !ok {
			return c, fmt.Errorf("changed %q: keys were left out", text)
		}
		c.Changed[key] = digest
	}
	for _, key := range strings.Fields(f["removed"]) {
		if strings.HasPrefix(key, "+") {
			return c, fmt.Errorf("removed %q: keys were left out", key)
		}
		c.Removed = append(c.Removed, key)
	}
	return c, nil
}
