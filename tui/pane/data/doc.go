// Package data is the pane in which a dataset is inspected: a table of its rows, up to a million; the selected row as JSON, as
// the chat template renders it and as tokens with their mask; its findings; labels of the user's own by single keys.
package data
