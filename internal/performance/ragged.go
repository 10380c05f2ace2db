package performance

import "math/rand/v2"

// gsm8k are the tokens of question and answer of 64 of GSM8K's 7,473 training rows (Cobbe et al. 2021) in GPT-2's tokens: the
// rows at equal steps of the sorted total length, in random order. Padded in batches of 4 they come to 1.41 times their own
// tokens, all rows in the file's order to 1.40.
var gsm8k = [][2]int{
	{55, 66},
	{41, 61},
	{63, 136},
	{44, 36},
	{47, 68},
	{48, 38},
	{106, 147},
	{80, 154},
	{22, 55},
	{69, 74},
	{35, 63},
	{47, 47},
	{44, 91},
	{60, 69},
	{47, 80},
	{29, 67},
	{56, 115},
	{38, 75},
	{82, 203},
	{52, 48},
	{76, 105},
	{35, 125},
	{41, 66},
	{54, 104},
	{74, 146},
	{97, 129},
	{55, 86},
	{46, 77},
	{67, 120},
	{58, 111},
	{58, 61},
	{63, 111},
	{56, 110},
	{59, 87},
	{52, 96},
	{32, 146},
	{29, 88},
	{59, 208},
	{28, 125},
	{32, 74},
	{72, 254},
	{72, 131},
	{25, 42},
	{63, 92},
	{63, 68},
	{89, 102},
	{25, 47},
	{44, 171},
	{30, 59},
	{30, 74},
	{65, 60},
	{47, 117},
	{46, 91},
	{47, 86},
	{71, 171},
	{78, 61},
	{41, 50},
	{55, 54},
	{33, 50},
	{80, 104},
	{79, 115},
	{45, 163},
	{62, 88},
	{43, 68},
}

// Row is ready-made ids with the labels of what is trained, as run.yaml's train_file takes them.
type Row struct {
	InputIDs []int32 `json:"input_ids"`
	Labels   []int32 `json:"labels"`
}

// FullRows are n rows of random ids of one length, all of them trained.
func FullRows(n, length, vocab int) []Row {
	r := rand.New(rand.NewPCG(1, 2))
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = randomRow(r, 0, length, vocab)
	}
	return rows
}

// RaggedRows are n rows of random ids with GSM8K's lengths, the question masked.
func RaggedRows(n, vocab int) []Row {
	r := rand.New(rand.NewPCG(1, 2))
	rows := make([]Row, n)
	for i := range rows {
		l := gsm8k[i%len(gsm8k)]
		rows[i] = randomRow(r, l[0], l[0]+l[1], vocab)
	}
	return rows
}

func randomRow(r *rand.Rand, masked, length, vocab int) Row {
	row := Row{make([]int32, length), make([]int32, length)}
	for i := range length {
		row.InputIDs[i] = int32(r.IntN(vocab))
		row.Labels[i] = row.InputIDs[i]
		if i < masked {
			row.Labels[i] = -100
		}
	}
	return row
}

// Padding is what padding rows to the longest of their batch multiplies the tokens by.
func Padding(rows []Row, batch int) float64 {
	var own, padded int
	for i := 0; i+batch <= len(rows); i += batch {
		longest := 0
		for _, row := range rows[i : i+batch] {
			own += len(row.InputIDs)
			longest = max(longest, len(row.InputIDs))
		}
		padded += longest * batch
	}
	if own == 0 {
		return 0
	}
	return float64(padded) / float64(own)
}
