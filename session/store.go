package session

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", pure Go
)

// stateDir is the folder of a workspace that lathe keeps its own files in.
const stateDir = ".lathe"

// schema is append-only: the journal is what happened, and every table beside it can be rebuilt from it.
const schema = `
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS journal (
  seq  INTEGER PRIMARY KEY AUTOINCREMENT,
  run  INTEGER NOT NULL,
  time INTEGER NOT NULL,
  kind TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS journal_run ON journal(run, seq);
INSERT OR IGNORE INTO meta VALUES ('version', '1');
`

// store is the workspace's SQLite journal.
type store struct {
	db     *sql.DB
	insert *sql.Stmt
}

// openStore opens or makes DIR/.lathe/workspace.db.
func openStore(dir string) (*store, error) {
	state := filepath.Join(dir, stateDir)
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, fmt.Errorf("open workspace: make %s: %w; choose a folder that you may write to", state, err)
	}
	path := filepath.Join(state, "workspace.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(2000)")
	if err != nil {
		return nil, fmt.Errorf("open workspace %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // one writer, and SQLite serialises anyway
	st := &store{db: db}
	if err := st.prepare(path); err != nil {
		db.Close()
		return nil, err
	}
	return st, nil
}

func (st *store) prepare(path string) error {
	if _, err := st.db.Exec(schema); err != nil {
		return fmt.Errorf("open workspace %s: %w; move the file away to start anew (runs and checkpoints are not in it)", path, err)
	}
	var version string
	if err := st.db.QueryRow(`SELECT value FROM meta WHERE key = 'version'`).Scan(&version); err != nil {
		return fmt.Errorf("open workspace %s: %w", path, err)
	}
	if version != "1" {
		return fmt.Errorf("open workspace %s: its version is %s and this lathe knows 1; use a newer lathe", path, version)
	}
	var err error
	if st.insert, err = st.db.Prepare(`INSERT INTO journal (run, time, kind, body) VALUES (?, ?, ?, ?)`); err != nil {
		return fmt.Errorf("open workspace %s: %w", path, err)
	}
	return nil
}

// append writes events in one transaction and gives each its Seq.
func (st *store) append(events []Event) error {
	tx, err := st.db.Begin()
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	insert := tx.Stmt(st.insert)
	for i := range events {
		kind, body, err := encodeBody(events[i].Body)
		if err != nil {
			return err
		}
		res, err := insert.Exec(events[i].Run, events[i].Time.UnixNano(), kind, body)
		if err != nil {
			return fmt.Errorf("write journal: %w", err)
		}
		if events[i].Seq, err = res.LastInsertId(); err != nil {
			return fmt.Errorf("write journal: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// replay yields the journal's events in order.
func (st *store) replay(yield func(Event) error) error {
	rows, err := st.db.Query(`SELECT seq, run, time, kind, body FROM journal ORDER BY seq`)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e Event
		var nanos int64
		var kind string
		var body []byte
		if err := rows.Scan(&e.Seq, &e.Run, &nanos, &kind, &body); err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		e.Time = time.Unix(0, nanos)
		if e.Body, err = decodeBody(kind, body); err != nil {
			return fmt.Errorf("read journal: event %d: %w", e.Seq, err)
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (st *store) close() error { return st.db.Close() }
