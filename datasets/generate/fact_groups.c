/*
 * Things by class. Within a group no thing belongs to two classes, in everyday words as in science.
 */
#include "generate/facts.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MEMBERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const adamoe_fact_class animals[] = {
    {"a mammal", "mammals",
     MEMBERS("whale", "bat", "dolphin", "horse", "mouse", "elephant", "rabbit", "cow")},
    {"a bird", "birds", MEMBERS("eagle", "penguin", "ostrich", "owl", "duck", "parrot", "robin")},
    {"a reptile", "reptiles", MEMBERS("snake", "lizard", "crocodile", "tortoise", "gecko")},
    {"an amphibian", "amphibians", MEMBERS("frog", "toad", "newt", "salamander")},
    {"a fish", "fish", MEMBERS("shark", "salmon", "trout", "tuna", "cod", "eel")},
    {"an insect", "insects", MEMBERS("ant", "bee", "beetle", "butterfly", "mosquito", "grasshopper")},
};

static const adamoe_fact_class plants[] = {
    {"a tree", "trees", MEMBERS("oak", "pine", "maple", "willow", "birch")},
    {"a garden flower", "garden flowers", MEMBERS("tulip", "daisy", "daffodil", "violet", "pansy")},
    {"a cereal", "cereals", MEMBERS("wheat plant", "rice plant", "barley plant", "rye plant")},
    {"a root vegetable", "root vegetables", MEMBERS("carrot", "turnip", "radish", "beet", "parsnip")},
};

static const adamoe_fact_class materials[] = {
    {"a metal", "metals", MEMBERS("iron", "copper", "gold", "silver", "aluminum", "tin", "lead")},
    {"a gas at room temperature", "gases",
     MEMBERS("oxygen", "nitrogen", "helium", "hydrogen", "carbon dioxide")},
    {"a liquid at room temperature", "liquids", MEMBERS("water", "milk", "vinegar", "olive oil", "gasoline")},
    {"a rock", "rocks", MEMBERS("granite", "limestone", "marble", "sandstone", "basalt", "slate")},
    {"a fiber", "fibers", MEMBERS("cotton", "wool", "silk", "linen", "nylon")},
};

static const adamoe_fact_class things[] = {
    {"a tool", "tools", MEMBERS("hammer", "saw", "screwdriver", "wrench", "shovel", "rake")},
    {"a piece of furniture", "furniture", MEMBERS("chair", "table", "bed", "desk", "sofa", "bookcase")},
    {"a piece of clothing", "clothing", MEMBERS("shirt", "coat", "sock", "hat", "glove", "scarf")},
    {"a vehicle", "vehicles", MEMBERS("bus", "truck", "bicycle", "train", "car", "boat")},
    {"a musical instrument", "musical instruments",
     MEMBERS("violin", "drum", "flute", "piano", "trumpet", "guitar")},
};

static const adamoe_fact_class bodies_in_space[] = {
    {"a planet", "planets",
     MEMBERS("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune")},
    {"a star", "stars", MEMBERS("the Sun", "Sirius", "Polaris", "Betelgeuse")},
    {"a moon", "moons", MEMBERS("Europa", "Titan", "Ganymede", "Callisto")},
    {"a dwarf planet", "dwarf planets", MEMBERS("Pluto", "Ceres", "Eris")},
};

static const adamoe_fact_class energy_sources[] = {
    {"renewable", "renewable", MEMBERS("wind", "sunlight", "ocean tides", "flowing water")},
    {"a fossil fuel", "fossil fuels", MEMBERS("coal", "petroleum", "natural gas")},
};

static const adamoe_fact_class conductors[] = {
    {"a good conductor of electricity", "conductors",
     MEMBERS("copper wire", "silver spoon", "iron nail", "aluminum foil", "gold ring")},
    {"an electrical insulator", "insulators",
     MEMBERS("rubber glove", "glass rod", "wooden stick", "plastic cup", "cotton cloth")},
};

static const adamoe_fact_class living_things[] = {
    {"a producer, which makes its own food", "producers",
     MEMBERS("grass", "oak tree", "green algae", "fern")},
    {"a consumer, which eats other living things", "consumers", MEMBERS("lion", "rabbit", "eagle", "spider")},
};

const adamoe_fact_group adamoe_fact_groups[] = {
    {"Which of these animals is ", "To which group of animals does the ", " belong?", animals,
     COUNT(animals)},
    {"Which of these plants is ", "To which group of plants does the ", " belong?", plants, COUNT(plants)},
    {"Which of these materials is ", "To which group of materials does ", " belong?", materials,
     COUNT(materials)},
    {"Which of these things is ", "To which group of things does a ", " belong?", things, COUNT(things)},
    {"Which of these bodies in space is ", "To which group of bodies in space does ", " belong?",
     bodies_in_space, COUNT(bodies_in_space)},
    {"Which of these sources of energy is ", NULL, NULL, energy_sources, COUNT(energy_sources)},
    {"Which of these objects is ", NULL, NULL, conductors, COUNT(conductors)},
    {"Which of these living things is ", NULL, NULL, living_things, COUNT(living_things)},
};
const size_t adamoe_fact_group_count = COUNT(adamoe_fact_groups);
