/** Emoji by name, as they are called elsewhere. */

const TABLE = `
smile 😄 smiley 😃 grin 😁 laughing 😆 joy 😂 rofl 🤣 blush 😊 innocent 😇 wink 😉 heart_eyes 😍 kissing_heart 😘 yum 😋
stuck_out_tongue 😛 zany 🤪 thinking 🤔 shush 🤫 neutral 😐 expressionless 😑 smirk 😏 unamused 😒 rolling_eyes 🙄
grimacing 😬 relieved 😌 pensive 😔 sleepy 😪 sleeping 😴 mask 😷 sick 🤒 nauseated 🤢 sneezing 🤧 hot 🥵 cold 🥶 dizzy 😵
exploding_head 🤯 cowboy 🤠 partying 🥳 sunglasses 😎 nerd 🤓 confused 😕 worried 😟 frowning ☹️ open_mouth 😮
astonished 😲 flushed 😳 pleading 🥺 fearful 😨 cry 😢 sob 😭 scream 😱 disappointed 😞 sweat 😓 sweat_smile 😅 weary 😩
tired 😫 yawning 🥱 triumph 😤 angry 😠 rage 😡 skull 💀 poop 💩 clown 🤡 ghost 👻 alien 👽 robot 🤖 cat 🐱 dog 🐶
see_no_evil 🙈 wave 👋 ok_hand 👌 pinching 🤏 v ✌️ crossed_fingers 🤞 point_left 👈 point_right 👉 point_up 👆
point_down 👇 thumbsup 👍 +1 👍 thumbsdown 👎 -1 👎 fist ✊ punch 👊 clap 👏 raised_hands 🙌 open_hands 👐 handshake 🤝
pray 🙏 writing ✍️ muscle 💪 eyes 👀 brain 🧠 shrug 🤷 facepalm 🤦 raising_hand 🙋 bow 🙇 running 🏃 dancer 💃 heart ❤️
orange_heart 🧡 yellow_heart 💛 green_heart 💚 blue_heart 💙 purple_heart 💜 black_heart 🖤 broken_heart 💔
two_hearts 💕 sparkling_heart 💖 100 💯 boom 💥 zzz 💤 fire 🔥 sparkles ✨ star ⭐ star2 🌟 rainbow 🌈 sun ☀️ cloud ☁️
rain 🌧️ snowflake ❄️ zap ⚡ droplet 💧 ocean 🌊 moon 🌙 earth 🌍 flower 🌸 rose 🌹 tulip 🌷 tree 🌳 leaf 🍃 clover 🍀
apple 🍎 banana 🍌 grapes 🍇 strawberry 🍓 peach 🍑 avocado 🥑 bread 🍞 cheese 🧀 egg 🥚 fries 🍟 pizza 🍕 burger 🍔 taco 🌮
sushi 🍣 cookie 🍪 cake 🍰 birthday 🎂 chocolate 🍫 popcorn 🍿 coffee ☕ tea 🍵 beer 🍺 beers 🍻 wine 🍷 cocktail 🍸 bug 🐛
bee 🐝 butterfly 🦋 turtle 🐢 snake 🐍 fish 🐟 whale 🐳 penguin 🐧 bird 🐦 owl 🦉 unicorn 🦄 crab 🦀 fox 🦊 tada 🎉 balloon 🎈
gift 🎁 trophy 🏆 medal 🏅 soccer ⚽ dart 🎯 dice 🎲 guitar 🎸 musical_note 🎵 art 🎨 camera 📷 rocket 🚀 airplane ✈️ car 🚗
bike 🚲 train 🚆 ship 🚢 house 🏠 tent ⛺ alarm ⏰ hourglass ⏳ watch ⌚ phone 📱 laptop 💻 bulb 💡 battery 🔋 wrench 🔧
hammer 🔨 gear ⚙️ link 🔗 lock 🔒 unlock 🔓 key 🔑 bell 🔔 mute 🔕 mag 🔍 pencil ✏️ memo 📝 book 📖 books 📚 calendar 📅
chart 📈 pushpin 📌 paperclip 📎 scissors ✂️ wastebasket 🗑️ mailbox 📫 package 📦 money 💰 warning ⚠️ no_entry ⛔ x ❌
check ✅ question ❓ exclamation ❗ recycle ♻️ arrow_up ⬆️ arrow_down ⬇️ red_circle 🔴 green_circle 🟢
checkered_flag 🏁 white_flag 🏳️ construction 🚧 sos 🆘 new 🆕 cool 🆒 ok 🆗`;

const words = TABLE.trim().split(/\s+/);
/** All emoji by name. */
const EMOJI = new Map(words.flatMap((word, index) => (index % 2 ? [] : [[word, words[index + 1]]])));

export const emojiOf = (name) => EMOJI.get(name);

/** Returns pairs of name and emoji: those whose name begins with a text, then those that contain it. */
export function emojiBeginning(text, most) {
  const wanted = text.toLowerCase();
  const all = [...EMOJI].filter(([name]) => name.includes(wanted));
  return all.sort(([a], [b]) => b.startsWith(wanted) - a.startsWith(wanted)).slice(0, most);
}
