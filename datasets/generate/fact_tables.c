/*
 * Subjects and their answers. Within a table an answer fits no subject but those that it stands beside.
 */
#include "generate/facts.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const adamoe_fact instruments[] = {
    {"temperature", "a thermometer"},
    {"the mass of a rock", "a balance"},
    {"the length of a pencil", "a ruler"},
    {"how long a race lasts", "a stopwatch"},
    {"the volume of a liquid", "a graduated cylinder"},
    {"the speed of the wind", "an anemometer"},
    {"air pressure", "a barometer"},
    {"electric current", "an ammeter"},
    {"the strength of an earthquake", "a seismograph"},
    {"the size of an angle", "a protractor"},
    {"the humidity of the air", "a hygrometer"},
};

static const adamoe_fact tools[] = {
    {"drive a nail into wood", "a hammer"},
    {"cut a board in two", "a saw"},
    {"turn a screw", "a screwdriver"},
    {"dig a hole", "a shovel"},
    {"see distant stars", "a telescope"},
    {"see tiny cells", "a microscope"},
    {"find north", "a compass"},
    {"tighten a bolt", "a wrench"},
    {"cut paper", "scissors"},
    {"gather fallen leaves", "a rake"},
    {"split white light into colors", "a prism"},
};

static const adamoe_fact made_of[] = {
    {"a window pane", "glass"},    {"a car tire", "rubber"},        {"a candle", "wax"},
    {"a newspaper", "paper"},      {"a red brick", "clay"},         {"a paper clip", "steel"},
    {"a pair of jeans", "cotton"}, {"a sidewalk", "concrete"},      {"the outside of a pencil", "wood"},
    {"a snowflake", "ice"},        {"a horse's saddle", "leather"},
};

static const adamoe_fact organs[] = {
    {"pumps blood", "the heart"},          {"moves oxygen from the air into the blood", "the lungs"},
    {"controls thinking", "the brain"},    {"breaks down food with acid", "the stomach"},
    {"makes urine", "the kidneys"},        {"detects light", "the eyes"},
    {"detects sounds", "the ears"},        {"detects smells", "the nose"},
    {"covers the whole body", "the skin"}, {"makes bile", "the liver"},
};

static const adamoe_fact planets[] = {
    {"is nearest to the Sun", "Mercury"},    {"is the hottest", "Venus"},
    {"has oceans of liquid water", "Earth"}, {"is known as the red planet", "Mars"},
    {"is the largest", "Jupiter"},           {"is best known for its wide bright rings", "Saturn"},
    {"spins lying on its side", "Uranus"},   {"is farthest from the Sun", "Neptune"},
};

static const adamoe_fact young_animals[] = {
    {"dog", "a puppy"},
    {"cat", "a kitten"},
    {"cow", "a calf"},
    {"horse", "a foal"},
    {"sheep", "a lamb"},
    {"frog", "a tadpole"},
    {"butterfly", "a caterpillar"},
    {"deer", "a fawn"},
    {"goat", "a kid"},
    {"pig", "a piglet"},
    {"duck", "a duckling"},
    {"goose", "a gosling"},
    {"kangaroo", "a joey"},
    {"bear", "a cub"},
};

static const adamoe_fact plant_parts[] = {
    {"takes up water from the soil", "the root"},
    {"carries water from the roots up to the leaves", "the stem"},
    {"makes most of its food from sunlight", "the leaf"},
    {"attracts bees with color and scent", "the flower"},
    {"can be sown to grow a new plant", "the seed"},
};

static const adamoe_fact state_changes[] = {
    {"liquid to gas", "evaporation"},         {"solid to liquid", "melting"},
    {"liquid to solid", "freezing"},          {"gas to liquid", "condensation"},
    {"solid directly to gas", "sublimation"},
};

static const adamoe_fact energy_devices[] = {
    {"electricity mainly into light", "a lamp"},
    {"electricity mainly into motion", "an electric motor"},
    {"electricity mainly into heat", "a toaster"},
    {"electricity into sound", "a loudspeaker"},
    {"sound into electricity", "a microphone"},
    {"sunlight into electricity", "a solar cell"},
    {"the turning of a shaft into electricity", "a generator"},
    {"chemical energy into electricity", "a battery"},
};

static const adamoe_fact simple_machines[] = {
    {"a ramp", "an inclined plane"},
    {"a slide", "an inclined plane"},
    {"a seesaw", "a lever"},
    {"a crowbar", "a lever"},
    {"a doorknob", "a wheel and axle"},
    {"a steering wheel", "a wheel and axle"},
    {"the blade of an ax", "a wedge"},
    {"the rope and wheel at the top of a flagpole", "a pulley"},
    {"the twist-off lid of a jar", "a screw"},
};

static const adamoe_fact scientists[] = {
    {"a botanist", "plants"},       {"a zoologist", "animals"},       {"an astronomer", "stars and planets"},
    {"a meteorologist", "weather"}, {"a geologist", "rocks"},         {"an oceanographer", "the sea"},
    {"a linguist", "languages"},    {"a historian", "human history"},
};

static const adamoe_fact symbols[] = {
    {"hydrogen", "H"}, {"oxygen", "O"},  {"carbon", "C"},   {"nitrogen", "N"},
    {"helium", "He"},  {"iron", "Fe"},   {"gold", "Au"},    {"silver", "Ag"},
    {"copper", "Cu"},  {"sodium", "Na"}, {"calcium", "Ca"}, {"lead", "Pb"},
};

static const adamoe_fact units[] = {
    {"length", "the meter"},
    {"mass", "the kilogram"},
    {"time", "the second"},
    {"temperature", "the degree Celsius"},
    {"the volume of a liquid", "the liter"},
    {"electric current", "the ampere"},
    {"force", "the newton"},
    {"power", "the watt"},
    {"voltage", "the volt"},
    {"frequency", "the hertz"},
    {"energy", "the joule"},
};

static const adamoe_fact legs[] = {
    {"an ant", "six"},   {"a bee", "six"},  {"a beetle", "six"}, {"a spider", "eight"}, {"a crab", "ten"},
    {"a horse", "four"}, {"a cat", "four"}, {"a frog", "four"},  {"a hen", "two"},      {"a snake", "none"},
};

static const adamoe_fact homes[] = {
    {"a wild camel", "in the desert"}, {"a polar bear", "in the Arctic"}, {"a shark", "in the ocean"},
    {"a honey bee", "in a hive"},      {"an earthworm", "in the soil"},   {"a toucan", "in the rain forest"},
};

static const adamoe_fact causes[] = {
    {"the rotation of Earth on its axis", "day and night"},
    {"the tilt of Earth's axis", "the seasons"},
    {"the Moon passing between Earth and the Sun", "a solar eclipse"},
    {"Earth's shadow falling on the Moon", "a lunar eclipse"},
    {"blocks of Earth's crust slipping past each other", "an earthquake"},
    {"sunlight passing through raindrops", "a rainbow"},
    {"electric charge in storm clouds", "lightning"},
};

static const adamoe_fact colors[] = {
    {"a ripe lemon", "yellow"},
    {"fresh grass", "green"},
    {"snow", "white"},
    {"coal", "black"},
    {"human blood", "red"},
    {"a carrot", "orange"},
    {"a clear sky at noon", "blue"},
};

static const adamoe_fact animal_features[] = {
    {"has a long trunk", "an elephant"},
    {"has black and white stripes", "a zebra"},
    {"has a very long neck", "a giraffe"},
    {"carries its young in a pouch", "a kangaroo"},
    {"makes honey", "a bee"},
    {"spins webs to catch insects", "a spider"},
    {"has a shell on its back", "a turtle"},
    {"builds dams in streams", "a beaver"},
    {"has a hump that stores fat", "a camel"},
    {"gives us wool", "a sheep"},
    {"has eight arms and lives in the sea", "an octopus"},
    {"hangs upside down by day and flies at night", "a bat"},
};

const adamoe_fact_table adamoe_fact_tables[] = {
    {"Which instrument measures ", "?", instruments, COUNT(instruments)},
    {"What is used to ", "?", tools, COUNT(tools)},
    {"What is ", " mostly made of?", made_of, COUNT(made_of)},
    {"Which organ ", "?", organs, COUNT(organs)},
    {"Which planet ", "?", planets, COUNT(planets)},
    {"What is a young ", " called?", young_animals, COUNT(young_animals)},
    {"Which part of a plant ", "?", plant_parts, COUNT(plant_parts)},
    {"What is the change from ", " called?", state_changes, COUNT(state_changes)},
    {"Which device changes ", "?", energy_devices, COUNT(energy_devices)},
    {"Which simple machine is ", "?", simple_machines, COUNT(simple_machines)},
    {"What does ", " study?", scientists, COUNT(scientists)},
    {"What is the chemical symbol of ", "?", symbols, COUNT(symbols)},
    {"Which unit is used to measure ", "?", units, COUNT(units)},
    {"How many legs does ", " have?", legs, COUNT(legs)},
    {"Where does ", " live?", homes, COUNT(homes)},
    {"What is caused by ", "?", causes, COUNT(causes)},
    {"What color is ", "?", colors, COUNT(colors)},
    {"Which animal ", "?", animal_features, COUNT(animal_features)},
};
const size_t adamoe_fact_table_count = COUNT(adamoe_fact_tables);
