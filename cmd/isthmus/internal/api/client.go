package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-dns/isthmus/plugin/isthmus"
)

// maxAnswer bounds what a client reads: MaxLimit services with 64 gateways
// each would take as much.
const maxAnswer = 64 << 20

// clientTime bounds a request: as long as the server may write.
const clientTime = 30 * time.Second

// Client asks a watcher.
type Client struct {
	base *url.URL
	http *http.Client
}

// NewClient takes the watcher's address as a URL, or as host:port.
func NewClient(address string) (*Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("watcher address %q: want http://host:port", address)
	}
	return &Client{base: base, http: &http.Client{Timeout: clientTime}}, nil
}

// Status asks for the watcher's status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.get(ctx, "/api/v1/status", nil, &s)
}

// Checks asks for what checks of gateways found.
func (c *Client) Checks(ctx context.Context) (Checks, error) {
	var s Checks
	return s, c.get(ctx, "/api/v1/gateways", nil, &s)
}

// Services asks for all services of a namespace, "" for all, page by page.
func (c *Client) Services(ctx context.Context, namespace string) ([]Service, error) {
	all := []Service{}
	query := url.Values{}
	if namespace != "" {
		query.Set("namespace", namespace)
	}
	var at place
	for {
		var p Services
		if err := c.get(ctx, "/api/v1/services", query, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Services...)
		if p.Next == "" {
			return all, nil
		}
		next, ok := parsePlace(p.Next)
		if !ok || next.compare(at) <= 0 {
			return nil, errors.New("watcher's pages don't end")
		}
		at = next
		query.Set("after", p.Next)
	}
}

// Explain asks where clients of a service are sent. The watcher does not know
// the caller's place: q.From is from where it is looked, empty for its own.
func (c *Client) Explain(ctx context.Context, q isthmus.Question) (*isthmus.Explanation, error) {
	query := url.Values{"name": {q.Name}, "without": q.Without}
	if q.From != "" {
		query.Set("from", q.From)
	}
	if q.Client.IsValid() {
		query.Set("client", q.Client.String())
	}
	e := &isthmus.Explanation{}
	if err := c.get(ctx, "/api/v1/explain", query, e); err != nil {
		return nil, err
	}
	return e, nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("ask the watcher: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the watcher: %w; give its address with --addr", err)
	}
	defer response.Body.Close()
	body := io.LimitReader(response.Body, maxAnswer)
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(body, 256)) // what there is of a reason
		return fmt.Errorf("ask the watcher: %s: %s", response.Status, strings.Join(strings.Fields(string(text)), " "))
	}
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("watcher's answer: %w", err)
	}
	return nil
}
