"""What shops and users of apps ask for, and the backdrops that a customer would find believable; "-" for a refusal.

The first three sets were written before the words of `[[near]]`, the fourth after them. Served believably with every
place installed (without those of Debian), no answer being wrong without saying so: at first sight 70 (69) of the 80 of
`UNSEEN` and 63 (62) of the 68 of `LONG`. What they got wrong was looked at after that, and some of it is put right.
"""

from __future__ import annotations

from tests.backdrops.prompts.prompts import Case


def _cases(text: str) -> tuple[Case, ...]:
    """One case a line: the prompt, an arrow, the names; a dash where a refusal is right, too."""
    split = (line.split(" -> ") for line in text.strip().splitlines())
    return tuple((prompt.strip(), frozenset(names.split())) for prompt, names in split)


TUNED = _cases(
    """
    a beach at sunset -> sunset
    a wooden table in a bright kitchen -> table_room wood
    cozy living room -> apartment table_room hotel_room
    restaurant table -> table_room wood bokeh
    conference room -> lobby hall
    farm field in the morning -> meadow_sunrise sunrise park
    sneakers on a basketball court -> concrete park warehouse
    skincare bottle on a bathroom shelf -> marble stone
    watch on black velvet -> spotlight sweep
    minimalist podium with soft shadows -> sweep stone gradient
    coffee mug on a cafe counter -> table_room wood bokeh
    handbag on a marble pedestal -> marble stone
    woman standing in a flower field -> park meadow_sunrise garden
    car parked on a mountain road -> dawn construction city
    headphones on a desk with a laptop -> wood table_room
    perfume on wet stones with water splashes -> stone spotlight gradient
    luxury hotel lobby -> lobby
    snowy landscape with pine trees -> forest dawn
    red sofa in front of a grey wall -> apartment concrete sweep
    tropical beach with palm trees -> sunset venice
    neon cyberpunk street -> bokeh night city
    christmas scene with gifts and lights -> bokeh
    a modern art gallery -> apartment lobby sweep hall
    gym interior -> warehouse workshop hall apartment
    office desk by the window -> table_room wood lobby
    soft pink background with flowers -> sweep gradient
    plain studio, no people -> sweep
    autumn park with fallen leaves -> park forest garden
    rooftop with city view -> city construction bokeh
    bar with bottles and warm lights -> bokeh table_room
    white bedding in a sunny bedroom -> hotel_room apartment
    on green grass -> park meadow_sunrise
    in space with stars and planets -> night spotlight gradient
    desert at golden hour -> dawn sunset sunrise meadow_sunrise
    old library -> table_room hall lobby
    classroom with desks -> lobby lab table_room
    picnic blanket in the park -> park
    kids room with toys -> apartment hotel_room
    garage with tools -> workshop warehouse
    a street in Paris -> piazza city venice
    supermarket shelves -> esplanade
    jewelry display on silk fabric -> sweep gradient spotlight
    blue abstract background -> gradient sweep
    gradient from orange to purple -> gradient
    dark moody background with smoke -> spotlight
    lake with mountains in the background -> dawn sunset venice park sunrise
    vineyard in Tuscany at sunset -> meadow_sunrise sunrise sunset park
    spa with candles and stones -> stone marble bokeh
    poolside of a luxury villa -> sunset courtyard venice apartment sky
    rustic barn -> warehouse wood workshop courtyard
    garden terrace with plants -> garden courtyard park
    concert stage with spotlights -> spotlight bokeh hall
    football stadium -> park
    nursery with a crib -> apartment hotel_room
    picture of a shop window -> esplanade city
    hospital room -> hotel_room lobby lab apartment
    train station platform -> esplanade warehouse bridge city construction
    airport terminal -> esplanade lobby bridge hall
    in front of a waterfall in the jungle -> forest
    breakfast table with croissants -> table_room wood
    pet food bowl on a kitchen floor -> apartment table_room
    tent at a campsite at night -> night forest
    graffiti wall in an alley -> brick concrete city
    clean white background with natural shadow -> sweep
    light beige wall with window shadow -> sweep apartment concrete gradient
    modern house exterior with driveway -> courtyard city construction park
    corporate headshot background, blurred -> lobby sweep gradient
    elegant ballroom with golden lights -> hall
    concrete loft with big windows -> warehouse brick apartment concrete
    underwater scene with bubbles -> gradient sweep
    inside a whale's stomach -> -
    on the moon -> - dawn night
    sandy shore with seashells -> sunset venice
    cherry blossom trees in Kyoto -> garden park
    harbor with yachts -> venice sunset
    stone path in a forest -> forest garden
    night city skyline with bokeh -> bokeh
    ocean waves crashing on rocks -> sunset venice
    wooden deck by a lake -> wood sunset venice
    floating on clouds in a dreamy pastel sky -> sky
    """
)
"""The words were tuned on these."""

TESTED = _cases(
    """
    product on a rustic wooden shelf -> wood table_room
    sofa in a Scandinavian living room with plants -> apartment table_room
    running shoes on a forest trail -> forest
    electric bike on a city street -> city construction
    bottle of wine on a table in a vineyard -> wood table_room meadow_sunrise park
    face cream on a slab of marble with eucalyptus leaves -> marble
    lipstick on pink silk -> sweep gradient
    man in suit in a boardroom -> lobby hall
    couple on a beach at dawn -> venice sunset sunrise
    dog in a meadow with wildflowers -> park meadow_sunrise
    cat on a windowsill -> apartment table_room
    baby on a fluffy rug in a nursery -> apartment hotel_room
    bicycle against a brick wall -> brick
    laptop on a kitchen island -> table_room marble
    tea cup on a garden table -> wood table_room garden stone courtyard
    chef in a restaurant kitchen -> table_room workshop lab
    barista behind the counter of a coffee shop -> table_room bokeh wood
    sports car in an underground parking lot -> warehouse construction
    motorcycle on a desert highway -> dawn construction
    surfer by the sea -> sunset venice
    skier on a snowy slope -> dawn
    climber on top of a mountain -> dawn
    businesswoman in front of skyscrapers -> city
    student on a university campus -> park city courtyard lobby
    doctor in a hospital corridor -> lobby lab bridge
    bride in a rose garden -> garden park
    dancer on a theater stage -> hall spotlight
    guitarist at a music festival -> bokeh spotlight park night
    gamer room with purple LED lights -> bokeh spotlight gradient
    VR headset in a futuristic environment -> bridge gradient spotlight bokeh
    sunglasses on sand -> sunset stone sweep
    earrings on a reflective black surface -> spotlight sweep stone marble
    candle on a bedside table -> table_room wood
    pillow on a bed with white linen -> hotel_room
    lamp in a modern apartment -> apartment
    vase on a mantelpiece -> table_room wood stone marble
    plant pot on a balcony -> courtyard city apartment
    hiking boots by a mountain lake -> dawn venice sunset
    cosmetics on a podium surrounded by tropical leaves -> sweep stone forest gradient garden
    honey jar in front of a sunflower field -> park meadow_sunrise sunrise
    bread in a bakery -> table_room wood
    burger on a diner table -> table_room wood
    cocktail on a rooftop bar at night -> bokeh
    beer glass in a pub -> table_room bokeh wood
    ice cream on a pastel yellow background -> sweep
    toy on a wooden floor in a playroom -> apartment wood
    watch on a dark slate surface, dramatic lighting -> stone
    ring on a bed of rose petals -> sweep gradient
    backpack at the airport -> esplanade lobby bridge
    suitcase on a train platform -> esplanade bridge warehouse construction city
    phone on a minimalist desk -> wood table_room
    drone above the clouds -> sky
    jacket in the rain on a street in Tokyo -> city bokeh night
    dress in front of a Greek temple -> piazza venice dawn
    old town alley with cobblestones -> piazza venice
    castle on a hill -> piazza dawn park
    christmas tree with fireplace in the background -> bokeh apartment table_room
    halloween night with pumpkins -> night bokeh spotlight forest
    easter eggs on spring grass -> park
    birthday party with balloons -> bokeh hall
    wedding table decoration -> table_room hall wood bokeh
    garden party with string lights -> bokeh garden night
    summer terrace overlooking the sea -> sunset venice
    swimming pool with palm trees -> sunset venice courtyard
    spring blossoms -> park garden
    misty forest in the early morning -> forest
    northern lights over a lake -> night
    galaxy background -> night gradient spotlight
    soft gradient, mint to white -> gradient
    solid red backdrop -> sweep
    grey textured wall -> concrete
    white brick wall with wooden floor -> brick
    a room with no furniture, white walls -> apartment
    without people: an empty street -> city
    industrial factory hall, no machines -> warehouse workshop
    modern laboratory with glassware -> lab
    an auto repair shop -> workshop warehouse
    a farm with cows -> park meadow_sunrise
    inside a submarine -> - bridge lab warehouse
    at the bottom of a black hole -> - spotlight
    """
)
"""Looked at between two rounds of tuning."""

UNSEEN = _cases(
    """
    nordic style bedroom with morning light -> hotel_room apartment
    kitchen countertop with blurred background -> table_room marble stone
    natural stone platform with moss -> stone forest garden
    sandy desert with dunes -> dawn sunset sunrise
    luxury boutique interior -> esplanade lobby hall
    wooden crate in an orchard -> wood park meadow_sunrise garden
    lavender field at dusk -> dawn meadow_sunrise sunrise park
    beach chair under an umbrella by the ocean -> sunset venice
    dining room with a chandelier -> hall table_room
    open plan office with plants -> lobby
    yoga studio with wooden floor -> apartment hall
    skate park -> construction concrete city
    race track with motion blur -> construction city
    ski resort in winter -> dawn
    aquarium with blue light -> gradient bridge spotlight
    cobblestone street in Rome -> piazza venice
    hotel reception desk -> lobby
    bathroom sink with towels -> marble stone
    shoe store display -> esplanade
    waterfall in Iceland -> forest dawn
    bamboo forest -> forest garden
    picnic table in the woods -> wood table_room forest
    greenhouse full of plants -> garden forest bridge park
    sauna with wooden benches -> wood
    night club with laser lights -> bokeh spotlight
    tennis court on a sunny day -> park construction
    soccer field under floodlights -> park night
    city park in autumn -> park forest garden
    subway station -> bridge warehouse esplanade
    balcony with a view of Manhattan -> city
    rainy window with bokeh -> bokeh
    fireplace in a log cabin -> table_room apartment wood
    pine branches and christmas ornaments -> bokeh wood
    golden glitter background -> bokeh sweep gradient
    pastel blue studio with soft shadow -> sweep
    black reflective background -> sweep spotlight
    holographic gradient -> gradient
    watercolor splash background -> gradient sweep
    geometric shapes in beige -> sweep gradient
    old wooden barn door -> wood
    rusty metal wall -> concrete workshop warehouse brick
    cracked concrete floor -> concrete
    white marble with gold veins -> marble
    terrazzo countertop -> stone marble
    linen tablecloth, soft daylight -> sweep table_room wood
    leather armchair in a study -> table_room apartment hotel_room lobby
    bookshelf in the background -> table_room lobby
    home office setup -> table_room lobby apartment wood
    teenager's room with posters -> apartment hotel_room
    laundry room -> apartment marble lab
    porch of a country house -> courtyard park
    driveway in front of a suburban home -> courtyard city construction park
    wheat field under blue sky -> park meadow_sunrise sunrise
    river bank with willows -> park forest sunset venice
    frozen lake in the mountains -> dawn
    volcanic landscape in Iceland -> dawn
    savanna with acacia trees at sunset -> night sunset sunrise meadow_sunrise dawn
    zen garden with raked sand -> garden
    market stall with fruit -> piazza courtyard table_room city
    street food stand in Bangkok at night -> bokeh night
    medieval tavern -> table_room warehouse brick
    ancient Egyptian temple -> dawn piazza stone
    spaceship interior -> bridge lab
    mars surface -> dawn
    dragon's cave -> dawn forest spotlight
    fairy tale forest with glowing mushrooms -> forest
    candy land -> gradient sweep
    inside a computer chip -> - gradient lab
    on stage in front of a crowd -> spotlight bokeh hall
    courtroom -> hall lobby
    church interior with stained glass -> hall
    museum hall -> hall lobby esplanade
    car showroom -> lobby esplanade warehouse
    construction workers at a building site -> construction city warehouse
    mechanic's workshop -> workshop warehouse
    data center with servers -> lab warehouse bridge
    sunrise over the ocean -> sunrise venice sunset
    full moon over a dark sea -> night sunset venice
    blurred office, no people, daylight -> lobby
    put it on a plain light gray background please -> sweep
    """
)
"""Looked at when the words stood."""

LONG = _cases(
    """
    studio white background -> sweep
    clean light grey seamless -> sweep
    seamless white cyclorama, subtle ground shadow -> sweep studio_photo
    change the background to a sunny beach -> sunset venice
    make the background a busy coffee shop -> table_room wood bokeh lobby
    change background to an elegant restaurant with candle light -> table_room bokeh
    set in a luxurious bathroom with marble tiles and gold faucets -> marble stone
    placed on top of a wooden log in a mossy forest -> wood forest
    floating in the air, with a soft blue gradient background -> gradient sweep
    surrounded by green leaves and water droplets, fresh and natural -> forest garden park gradient
    minimal beige background with hard shadows of palm leaves -> sweep gradient
    on a white table in a minimalist Scandinavian kitchen with plants -> table_room marble
    outdoors in a sunny backyard with a barbecue -> courtyard park
    hiking trail in the mountains, golden hour -> dawn forest sunset meadow_sunrise
    urban street at night with neon signs and wet asphalt -> bokeh city
    on a picnic table in a park with autumn trees -> wood park table_room
    cozy winter cabin interior with fireplace and blankets -> table_room apartment wood hotel_room
    luxury car showroom with polished floor -> esplanade lobby warehouse hall
    person standing in a corporate office with glass walls -> lobby
    professional linkedin photo background -> sweep lobby gradient
    passport photo, white background -> sweep
    real estate agent in front of a modern house -> courtyard city apartment park
    teacher in front of a blackboard -> lobby lab sweep concrete
    at the airport with large windows and planes outside -> esplanade bridge lobby
    kids birthday party with colorful balloons -> bokeh
    vintage study with leather books and a globe -> table_room lobby
    industrial warehouse with shelves and boxes -> warehouse
    in a gym with dumbbells in the background, dramatic lighting -> warehouse apartment workshop spotlight
    on the street in New York City with yellow taxis -> city
    in front of the Eiffel Tower in Paris at sunset -> piazza sunset
    Santorini white houses and blue sea -> sunset venice piazza
    on a boat in the middle of the ocean -> sunset venice
    snow covered mountain peaks under a clear blue sky -> dawn sky
    lush tropical rainforest with a waterfall -> forest
    field of lavender in Provence at sunset -> meadow_sunrise sunrise sunset park
    on cracked desert ground, dusk -> dawn stone
    red velvet cushion with spotlight -> spotlight sweep
    glossy black table with reflections -> spotlight sweep stone marble table_room wood
    dark slate board with scattered spices and herbs -> stone
    terracotta podium against a peach wall -> sweep gradient
    stack of stones in a zen spa with bamboo -> stone marble garden
    crystal clear water surface with ripples -> sunset venice gradient
    pastel purple backdrop with soap bubbles -> sweep gradient
    silver metallic background -> sweep gradient spotlight concrete
    blue and pink neon lights studio -> bokeh sweep spotlight gradient
    retro 80s arcade room -> bokeh
    open book and coffee on a cozy bed, hygge -> hotel_room apartment table_room
    on a park bench by the lake -> park sunset venice wood
    in a pottery studio with clay tools -> workshop
    at a construction site with scaffolding -> construction city warehouse
    pharmacy shelves with medicine -> lobby lab esplanade
    in a veterinary clinic -> lobby lab
    a luxury yacht at sea, blue sky -> sunset venice sky
    a football stadium with lights at night -> park bokeh night
    rustic farmhouse kitchen with copper pots -> table_room wood
    country road through golden fields -> construction park meadow_sunrise sunrise
    lively street market in Morocco -> piazza city
    cherry blossoms falling on a stone path -> garden park stone forest
    temple in Bali with tropical flowers -> garden forest piazza sunset
    night sky full of stars above a desert camp -> night dawn
    soft focus spring garden with tulips -> garden park forest
    library hall with tall bookshelves -> table_room hall lobby
    glass skyscraper lobby -> lobby
    spotlit stage with red curtains -> spotlight hall
    plain concrete floor and wall, soft daylight -> concrete
    no background props, just a clean white wall -> sweep apartment concrete
    inside a refrigerator full of vegetables -> table_room
    on the wing of an airplane above the clouds -> sky hotel_room
    """
)
"""Longer ones, written after that and looked at last."""
