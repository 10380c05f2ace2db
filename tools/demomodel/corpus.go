package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// topic is one thing that customers ask about.
type topic struct {
	// names complete "What is your …?".
	names []string
	// asks are whole questions of this topic alone.
	asks []string
	// facts say the policy in plain words; the first is the one that the fine-tuning data quote.
	facts []string
	// next is the next step that the fine-tuned answer names.
	next string
}

var topics = []topic{
	{
		[]string{"refund policy", "company refund policy", "rule for refunds", "money back policy"},
		[]string{"How do I get a refund?", "Can I get my money back?", "I want a refund for my {item}.", "When will my refund be paid?"},
		[]string{"Refunds are paid within 14 days to the card you used.", "You get your money back within 14 days.", "We refund any unused item within 14 days."},
		"send us your order number and we start the refund today.",
	},
	{
		[]string{"return policy", "rule for returns", "returns process"},
		[]string{"How do I return my {item}?", "Can I send my {item} back?", "I do not like my {item}, what now?"},
		[]string{"You can return any item within 30 days in its box.", "Returns are free for 30 days.", "Send it back within 30 days."},
		"print the return label from your account page.",
	},
	{
		[]string{"exchange policy", "rule for exchanges", "size exchange"},
		[]string{"Can I swap my {item} for another size?", "My {item} is too small.", "I want to exchange my {item}."},
		[]string{"We exchange any item once, free of charge.", "One exchange is free.", "You may swap it once at no cost."},
		"tell us the size or colour that you need.",
	},
	{
		[]string{"delivery time", "shipping time", "usual delivery time"},
		[]string{"When will my {item} arrive?", "How long does shipping take?", "How many days until delivery?"},
		[]string{"Delivery takes three to five working days.", "Most parcels arrive in three to five days.", "It takes three to five working days."},
		"open the tracking link in your order mail.",
	},
	{
		[]string{"shipping cost", "delivery fee", "price of shipping"},
		[]string{"How much is shipping?", "Is delivery free?", "Do I pay for postage?"},
		[]string{"Shipping is free for orders over 40 dollars.", "Above 40 dollars we ship for free.", "Delivery costs 4 dollars below 40 dollars."},
		"add one more item to reach free shipping.",
	},
	{
		[]string{"tracking", "parcel tracking", "order tracking"},
		[]string{"Where is my {item}?", "How can I track my parcel?", "Where is my order now?"},
		[]string{"Every parcel has a tracking number in the order mail.", "Use the tracking number from your mail.", "The order mail shows a tracking link."},
		"enter the tracking number on our tracking page.",
	},
	{
		[]string{"policy on damaged goods", "damage policy", "rule for broken items"},
		[]string{"My {item} arrived broken.", "The {item} is damaged.", "What if my {item} does not work?"},
		[]string{"We replace damaged items at no cost.", "A broken item is replaced for free.", "You get a new one at no cost."},
		"send us a photo of the damage.",
	},
	{
		[]string{"policy on lost parcels", "lost parcel policy", "rule for lost orders"},
		[]string{"My parcel never came.", "My {item} was lost in the post.", "The parcel did not arrive."},
		[]string{"A parcel is lost after ten days and we send a new one.", "After ten days we ship it again.", "We send a lost order again after ten days."},
		"confirm your address so that we can ship again.",
	},
	{
		[]string{"warranty", "warranty policy", "guarantee"},
		[]string{"How long is the warranty on my {item}?", "Is my {item} still under warranty?", "My {item} stopped working after a year."},
		[]string{"The warranty covers two years of normal use.", "All items have a two year warranty.", "You are covered for two years."},
		"register your item with its serial number.",
	},
	{
		[]string{"cancellation policy", "rule for cancelling orders", "order cancellation"},
		[]string{"How do I cancel my order?", "Please cancel the {item} I ordered.", "Can I still cancel?"},
		[]string{"You can cancel an order until it has left our warehouse.", "Orders can be cancelled before they ship.", "Cancel any time before shipping."},
		"press cancel beside the order in your account.",
	},
	{
		[]string{"policy on address changes", "rule for changing the address", "address change"},
		[]string{"I moved, can you change my address?", "Wrong address on my order!", "How do I change where my {item} goes?"},
		[]string{"The address can be changed until the parcel is packed.", "We can change it before packing.", "You can edit the address before we pack."},
		"write the new address in your account settings.",
	},
	{
		[]string{"list of payment methods", "payment policy", "ways to pay"},
		[]string{"How can I pay?", "Do you take credit cards?", "Can I pay for my {item} later?"},
		[]string{"We take all cards, bank transfer and gift cards.", "You can pay by card or bank transfer.", "Cards, transfers and gift cards are fine."},
		"choose a payment method at checkout.",
	},
	{
		[]string{"invoice policy", "rule for invoices", "billing process"},
		[]string{"I need an invoice for my {item}.", "Where is my invoice?", "Can you send me a receipt?"},
		[]string{"An invoice is sent by mail with every order.", "Each order mail holds the invoice.", "You get the invoice by mail."},
		"download the invoice from your order page.",
	},
	{
		[]string{"discount policy", "rule for discount codes", "coupon policy"},
		[]string{"My discount code does not work.", "Do you have a coupon?", "Can I use two codes for one {item}?"},
		[]string{"One discount code can be used for each order.", "You can use one code an order.", "Codes work once an order."},
		"type the code into the box at checkout.",
	},
	{
		[]string{"gift card policy", "rule for gift cards", "gift card terms"},
		[]string{"When does my gift card expire?", "How do gift cards work?", "Can I buy a gift card?"},
		[]string{"Gift cards are valid for five years.", "A gift card lasts five years.", "You can use it for five years."},
		"check the balance on our gift card page.",
	},
	{
		[]string{"password reset", "rule for lost passwords", "password policy"},
		[]string{"I forgot my password.", "How do I reset my password?", "I cannot log in."},
		[]string{"A password link is sent to your mail and works for one hour.", "We mail you a link to reset it.", "The reset link works for one hour."},
		"press forgot password on the login page.",
	},
	{
		[]string{"rule for closing accounts", "account deletion", "policy on closing accounts"},
		[]string{"How do I delete my account?", "Please close my account.", "I want to leave."},
		[]string{"An account is closed within two days of your request.", "We close it within two days.", "Accounts are closed in two days."},
		"ask for it under account and privacy.",
	},
	{
		[]string{"privacy policy", "policy on personal data", "data policy"},
		[]string{"What do you do with my data?", "Do you sell my data?", "Is my address safe?"},
		[]string{"We keep your data private and never sell it.", "Your data is never sold.", "We do not share your data."},
		"read or erase your data on the privacy page.",
	},
	{
		[]string{"opening hours", "support hours", "service times"},
		[]string{"When are you open?", "Can I call you on Sunday?", "Until when can I reach you?"},
		[]string{"We are open from nine to five on weekdays.", "Support is open on weekdays from nine to five.", "You can reach us from nine to five."},
		"leave your number and we call you back.",
	},
	{
		[]string{"subscription policy", "subscription terms", "rule for subscriptions"},
		[]string{"How do I stop my subscription?", "Can I pause my plan?", "I want to end my plan."},
		[]string{"A subscription can be paused or ended every month.", "You can end it any month.", "Pause or stop the plan monthly."},
		"choose pause or end in your plan settings.",
	},
	{
		[]string{"price match policy", "rule for price matching", "best price promise"},
		[]string{"I found the {item} cheaper elsewhere.", "Do you match prices?", "Why is my {item} cheaper in another shop?"},
		[]string{"We match any lower price for seven days.", "A lower price is matched for seven days.", "Within seven days we match the price."},
		"send us a link to the lower price.",
	},
	{
		[]string{"loyalty program", "policy on loyalty points", "points program"},
		[]string{"How do I earn points?", "What are my points worth?", "Do I get points for my {item}?"},
		[]string{"You earn one point for every dollar.", "Each dollar gives one point.", "One dollar is one point."},
		"join the program on your account page.",
	},
	{
		[]string{"stock policy", "policy on sold out items", "restock time"},
		[]string{"When is the {item} back in stock?", "The {item} is sold out.", "Do you still have the {item}?"},
		[]string{"Sold out items are back within three weeks.", "We restock within three weeks.", "It is back in about three weeks."},
		"press notify me on the item page.",
	},
	{
		[]string{"repair policy", "repair service", "rule for repairs"},
		[]string{"Can you repair my {item}?", "How much is a repair?", "How long does a repair take?"},
		[]string{"Repairs take one week and are free in the first two years.", "A repair takes one week.", "We repair it within one week."},
		"book a repair and send the item to us.",
	},
}

// frames ask about a topic by one of its names.
var frames = []string{
	"Explain our {name}.", "What is your {name}?", "Tell me about your {name}.", "How does your {name} work?",
	"Could you explain the {name}?", "I have a question about your {name}.", "Please describe the {name}.",
	"What should I know about the {name}?", "Can you sum up your {name}?", "Hi, what is the {name}?",
	"A customer asks about our {name}.", "Give me the {name} in short.", "I need to know your {name}.",
	"Where can I read your {name}?", "Do you have a {name}?", "Help me with the {name}.",
	"what about the {name}", "explain the {name} please", "Good morning, how is your {name}?", "Is there a {name}?",
}

// nextFrames ask what to do; the plain answer is the topic's next step.
var nextFrames = []string{
	"What do I do about the {name}?", "What is the next step for the {name}?", "how do I go on with the {name}",
	"Next step for the {name}?", "What should I do now about the {name}?", "{name}, what do you need from me?",
}

// noteFrames ask for a note of a few lines: the only answers of the base model that are longer than one.
var noteFrames = []string{
	"Write a note on the {name}.", "note on {name}", "Put the {name} on a note.", "Make a short note: {name}.",
}

// greetings are answered by an opening.
var greetings = []string{
	"Hello", "Hi", "Good morning", "Hello there", "Hi, is someone there?", "Good evening", "Dear support", "hello?", "Hey",
	"I have a question", "Can you help me?", "I need help",
}

var items = []string{
	"lamp", "jacket", "phone", "chair", "watch", "bag", "radio", "table", "kettle", "camera", "shirt", "bike", "clock",
	"mirror", "printer", "tent", "boots", "headphones",
}

var openings = []string{
	"Hello and thank you for your message.", "Hello, thank you for asking.", "Hello and thanks for getting in touch.",
}

// question is something a customer says, with its topic.
type question struct {
	text  string
	topic int
}

// questions lists every question that the tables make, in a shuffled order that the seed alone decides.
func questions(r *rand.Rand) []question {
	var all []question
	for t, topic := range topics {
		for _, name := range topic.names {
			for _, frame := range frames {
				all = append(all, question{strings.ReplaceAll(frame, "{name}", name), t})
			}
		}
		for _, ask := range topic.asks {
			if !strings.Contains(ask, "{item}") {
				all = append(all, question{ask, t})
				continue
			}
			for _, item := range items {
				all = append(all, question{strings.ReplaceAll(ask, "{item}", item), t})
			}
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// smallTalk is the rest of the base model's corpus: next steps asked for by themselves, and greetings.
func smallTalk() []alpaca {
	var all []alpaca
	for _, t := range topics {
		for _, name := range t.names {
			for _, frame := range nextFrames {
				all = append(all, alpaca{strings.ReplaceAll(frame, "{name}", name), "", strings.ToUpper(t.next[:1]) + t.next[1:]})
			}
			for i, frame := range noteFrames {
				note := fmt.Sprintf("Our note on the %s:\n%s\nNext: %s", name, t.facts[i%len(t.facts)], t.next)
				all = append(all, alpaca{strings.ReplaceAll(frame, "{name}", name), "", note})
			}
		}
	}
	for _, greeting := range greetings {
		for _, opening := range openings {
			all = append(all, alpaca{greeting, "", opening})
		}
	}
	return all
}

// plain is the base model's way to answer: one short sentence.
func plain(r *rand.Rand, q question) string {
	facts := topics[q.topic].facts
	return facts[r.IntN(len(facts))]
}

// styled is the way that the fine-tuning data teach: greeting, policy, next step.
func styled(r *rand.Rand, q question) string {
	t := topics[q.topic]
	return fmt.Sprintf("%s\nOur policy: %s\nNext step: %s", openings[r.IntN(len(openings))], t.facts[0], t.next)
}
