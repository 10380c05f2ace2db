package datasets

// The codes of findings. They are stable: scripts match them.
const (
	CodeDataType                = "data_type"
	CodeBadUTF8                 = "bad_utf8"
	CodeMissingMessagesList     = "missing_messages_list"
	CodeMessageMissingKey       = "message_missing_key"
	CodeMessageUnrecognizedKey  = "message_unrecognized_key"
	CodeUnrecognizedRole        = "unrecognized_role"
	CodeMissingContent          = "missing_content"
	CodeMissingAssistantMessage = "example_missing_assistant_message"
	CodeEmptyOutput             = "empty_output"
	CodeEmptyInstruction        = "empty_instruction"
	CodeNoInputPlaceholder      = "no_input_placeholder"
	CodeMergedInstruction       = "merged_instruction"
	CodeNAOutput                = "na_output"
	CodeDuplicateExact          = "duplicate_exact"
	CodeDuplicateNear           = "duplicate_near"
	CodeDuplicateKey            = "duplicate_key"
	CodeRoleAlternation         = "role_alternation"
	CodeControlCharacter        = "control_character"
	CodeZeroWidth               = "zero_width"
	CodeBidiOverride            = "bidi_override"
	CodeMojibake                = "mojibake"
	CodeReplacementChar         = "replacement_char"
	CodeEdgeWhitespace          = "edge_whitespace"
	CodeInconsistentFormat      = "inconsistent_format"
	CodeTooLong                 = "too_long"
	CodeNoTrainedToken          = "no_trained_token"
	CodeNoEOSTrained            = "no_eos_trained"
	CodeTemplateMismatch        = "template_mismatch"
	CodeTemplateError           = "template_error"
	CodeTokenID                 = "token_id"
	CodeRefusal                 = "refusal"
	CodePIIEmail                = "pii_email"
	CodePIIPhone                = "pii_phone"
	CodePIISSN                  = "pii_ssn"
	CodePIICard                 = "pii_card"
	CodePIIIBAN                 = "pii_iban"
	CodePIIIP                   = "pii_ip"
	CodeClassImbalance          = "class_imbalance"
)

// Rule describes a code.
type Rule struct {
	Code  string
	Level Level  // the usual one; a finding may be graver or lighter
	Help  string // what it means and how to mend it
}

// Rules are all rules, errors first.
var Rules = []Rule{
	{CodeDataType, LevelError, "The row is not a JSON object, or a value has the wrong type."},
	{CodeBadUTF8, LevelError, "The row is not UTF-8. Convert the file, for instance with `iconv -f LATIN1 -t UTF-8`."},
	{CodeMissingMessagesList, LevelError, "The row has neither a list of messages nor the fields of another known format. Name the fields with `columns`."},
	{CodeMessageMissingKey, LevelError, "A message lacks its role or its content."},
	{CodeUnrecognizedRole, LevelError, "A message's role is none that chat templates know."},
	{CodeMissingContent, LevelError, "A message has no text."},
	{CodeMissingAssistantMessage, LevelError, "The conversation has no message of the assistant: there is nothing to learn in it."},
	{CodeEmptyOutput, LevelError, "The answer is empty: the model would learn to say nothing."},
	{CodeNoTrainedToken, LevelError, "After masking and truncation no token of the row is trained."},
	{CodeTemplateError, LevelError, "The model's chat template refuses the row."},
	{CodeTokenID, LevelError, "A ready-made token id or label is not in the model's vocabulary, or lengths differ."},
	{CodeDuplicateKey, LevelWarn, "A name occurs twice in one object: readers keep the last value. An error where the values differ."},
	{CodeMessageUnrecognizedKey, LevelWarn, "A message has a key that chat templates do not read."},
	{CodeEmptyInstruction, LevelWarn, "The question is empty."},
	{CodeNoInputPlaceholder, LevelWarn, "The input says in words that there is none. Leave it empty."},
	{CodeMergedInstruction, LevelWarn, "Several examples were merged in one: an output holds the next instruction, or an instruction its input and output."},
	{CodeNAOutput, LevelWarn, "The answer is a placeholder such as N/A."},
	{CodeDuplicateExact, LevelWarn, "The same example stands in an earlier row. `lathe data dedupe` removes it."},
	{CodeDuplicateNear, LevelWarn, "Nearly the same example stands in an earlier row (MinHash). `lathe data dedupe` removes it."},
	{CodeRoleAlternation, LevelWarn, "User and assistant do not take turns: some chat templates refuse that, others render it in an unseen way."},
	{CodeControlCharacter, LevelWarn, "The text has a control character."},
	{CodeZeroWidth, LevelWarn, "The text has an invisible character."},
	{CodeBidiOverride, LevelWarn, "The text has a character that changes the direction of what follows: it may read other than it is."},
	{CodeMojibake, LevelWarn, "UTF-8 was once read as Latin-1 or Windows-1252."},
	{CodeReplacementChar, LevelWarn, "U+FFFD stands where a character was lost."},
	{CodeEdgeWhitespace, LevelWarn, "The text begins or ends with white space, which is trained with it."},
	{CodeInconsistentFormat, LevelWarn, "The row has another format than most of the file."},
	{CodeTooLong, LevelWarn, "The row has more tokens than max_seq_length: its end is cut off."},
	{CodeNoEOSTrained, LevelWarn, "The end of the answer is not trained. An error where that holds for the whole file: the model would never learn to stop."},
	{CodeTemplateMismatch, LevelWarn, "The text has control tokens of a chat template. They belong to the template, not to the text."},
	{CodeRefusal, LevelWarn, "The answer is a refusal, or speaks of being an AI model."},
	{CodePIIEmail, LevelWarn, "The text has an e-mail address. `lathe data redact` replaces it."},
	{CodePIIPhone, LevelWarn, "The text has a telephone number. `lathe data redact` replaces it."},
	{CodePIISSN, LevelWarn, "The text has a social security number of the United States. `lathe data redact` replaces it."},
	{CodePIICard, LevelWarn, "The text has a payment card number. `lathe data redact` replaces it."},
	{CodePIIIBAN, LevelWarn, "The text has a bank account number (IBAN). `lathe data redact` replaces it."},
	{CodePIIIP, LevelWarn, "The text has an IP address. `lathe data redact` replaces it."},
	{CodeClassImbalance, LevelWarn, "One class has many times the rows of another. `lathe data balance` evens them out."},
}

var levelOf = func() map[string]Level {
	levels := make(map[string]Level, len(Rules))
	for _, r := range Rules {
		levels[r.Code] = r.Level
	}
	return levels
}()
