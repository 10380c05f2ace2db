package data

import "container/list"

// lru keeps the entries used last.
type lru[K comparable, V any] struct {
	limit int
	order list.List // of pair, newest first
	at    map[K]*list.Element
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: max(limit, 1), at: map[K]*list.Element{}}
}

// get finds an entry and makes it the newest.
func (c *lru[K, V]) get(key K) (V, bool) {
	e, ok := c.at[key]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(e)
	return e.Value.(pair[K, V]).value, true
}

// has tells whether there is an entry, which does not make it newer.
func (c *lru[K, V]) has(key K) bool { _, ok := c.at[key]; return ok }

// put adds or replaces an entry; the oldest goes where there are too many.
func (c *lru[K, V]) put(key K, value V) {
	if e, ok := c.at[key]; ok {
		e.Value = pair[K, V]{key, value}
		c.order.MoveToFront(e)
		return
	}
	c.at[key] = c.order.PushFront(pair[K, V]{key, value})
	if c.order.Len() > c.limit {
		oldest := c.order.Back()
		c.order.Remove(oldest)
		delete(c.at, oldest.Value.(pair[K, V]).key)
	}
}

func (c *lru[K, V]) len() int { return c.order.Len() }
