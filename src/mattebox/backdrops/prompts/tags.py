"""What people call the backdrops that there are, and what they ask for that there is not.

Every name was given after a look at the picture: a lounge with a sofa is not in the empty living room. In the tags of
a studio backdrop the word "coloured" stands for any colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


def _tags(text: str) -> tuple[str, ...]:
    return tuple(" ".join(tag.split()) for tag in text.split(",") if tag.strip())


SCENE_TAGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "apartment": _tags(
            """apartment, empty apartment, living room, empty living room, empty room, unfurnished room, bright room,
            white room, flat, room with a large window, sunlit room, sunny room, home interior, house interior, home,
            minimalist interior, modern interior, new home, wooden floor, window, sunlight through a window, indoors,
            room, interior, parquet floor, white wall"""
        ),
        "bridge": _tags(
            """glass walkway, glass bridge, skywalk, skybridge, pedestrian bridge, covered walkway, walkway,
            footbridge, glass corridor, modern corridor, futuristic corridor, corridor, glass tunnel"""
        ),
        "city": _tags(
            """city, city square, plaza, city plaza, town square, urban square, downtown, city centre, cityscape,
            urban, urban background, urban setting, skyscrapers, office towers, glass buildings, modern buildings,
            city street, modern city, business district, financial district, high-rise buildings, buildings, outside
            in the city, grey sky, cloudy sky, glass towers, tall buildings, metropolis, urban plaza,
            paved square, office blocks, tall offices, high rises"""
        ),
        "construction": _tags(
            """construction site, building under construction, building site, crane, construction crane, construction,
            half-built building, city outskirts, empty parking lot, car park, parking lot, asphalt, asphalt lot, city
            skyline, skyline, urban wasteland"""
        ),
        "courtyard": _tags(
            """courtyard, yard, backyard, back yard, covered patio, patio, carport, farmyard, sunny courtyard, paved
            yard, house with a yard, yellow house, farm house, porch, veranda"""
        ),
        "dawn": _tags(
            """mountains at dawn, mountain at dusk, hills at dawn, rocky hills, rocky mountain, rocky landscape, dawn,
            mountain dawn, purple sky, pink sky, violet sky, mountains at twilight, dusk, barren hills, rocky
            hillside, wilderness at dawn, first light in the mountains, cliff at dawn, rock at dusk, canyon at dusk,
            mountain landscape at dusk, mountain landscape at dawn, evening in the mountains, mountain evening"""
        ),
        "esplanade": _tags(
            """shopping mall, mall, shopping centre, shopping arcade, department store, retail hall, atrium, plaza
            mall, mall interior, luxury mall, mall atrium, commercial centre"""
        ),
        "forest": _tags(
            """forest, woodland, woodland path, woodland trail,
            pine forest, in the woods, trees, forest floor, forest path, forest slope, sunny
            forest, tall trees, forest clearing, glade, woodland glade, grove, pine trees, deep forest, nature trail,
            forest trail, wilderness, sunlight through the trees, nature, outdoors in nature, green forest,
            forest background, woods"""
        ),
        "garden": _tags(
            """japanese garden, garden, zen garden, japanese park, garden path, bamboo fence, rock garden, botanical
            garden, stone garden, public garden, green garden, trees, path in a park, park path, park with trees,
            garden trees, nature, gravel path, tree-lined path, asian garden, zen temple garden, temple garden"""
        ),
        "hall": _tags(
            """ballroom, dance hall, banquet hall, event hall, wedding hall, hall, dance floor, function room, festive
            hall, chandelier, chandeliers, reception hall, party hall, assembly hall, gala, grand hall, elegant hall,
            wedding venue, event venue, conference hall, ball room with chandeliers, large hall"""
        ),
        "hotel_room": _tags(
            """hotel room, hotel bedroom, bedroom, hotel suite, guest room, bed, modern bedroom, suite, cozy bedroom,
            hotel, luxury hotel room, room with a bed, bright bedroom, master bedroom, armchair"""
        ),
        "lab": _tags(
            """laboratory, lab, engineering laboratory, electrical laboratory, engine room, machine hall, machine
            room, old laboratory, old machines, soviet laboratory, industrial machinery, technical school, machine
            shop, motors, physics laboratory, machinery, machines"""
        ),
        "lobby": _tags(
            """lobby, foyer, office lobby, reception, reception area, waiting area, waiting room, entrance hall,
            office, modern office, office building, hotel lobby, hotel reception, office background, corporate
            interior, office interior, modern lobby, corporate office, bright office, business office, company office,
            bright foyer, front desk, company headquarters, building interior, office space, workplace, blurred
            office"""
        ),
        "meadow_sunrise": _tags(
            """meadow at sunrise, sunrise, field at sunrise, morning meadow, sunrise meadow, misty meadow, countryside
            at sunrise, grass at sunrise, dewy meadow, early morning field, grass field at sunrise, golden field,
            countryside, morning sun, field in the morning, sunlit meadow, golden hour meadow, meadow at dawn, meadow,
            field at dawn, golden hour field, rural landscape at sunrise, farm field, morning light over a field,
            morning mist over a field, meadow in morning light, grass hillside at dawn, meadow in the morning, park at
            sunrise, field, grass"""
        ),
        "night": _tags(
            """night, night sky, starry night, stars, star sky, field at night, savanna at night, bush at night, night
            landscape, under the stars, outdoors at night, milky way, nature at night, dark field, countryside at
            night, meadow at night, camping under the stars, starry sky, clear night, night sky with stars, park at
            night, lawn at night, countryside, field, grassland, savanna"""
        ),
        "park": _tags(
            """park, green park, lawn, grass, green lawn, grass field, green field, green meadow, public park, city
            park, sunny park, park on a sunny day, meadow, field, summer meadow, green grass, grassland, countryside,
            blue sky, picnic lawn, sports field, open field, pasture, park in summer, sunny meadow, outdoors, football
            pitch, summer field, trees, nature, spring meadow, spring park, spring field"""
        ),
        "piazza": _tags(
            """venice square, italian piazza, piazza, st mark's square, piazza san marco, san marco, doge's palace,
            italian square, old town square, historic square, old city square, european square, city square at sunset,
            historic city, old town, italy, city at sunset, historic buildings, palace square, european city, venice,
            european old town, town square at sunset, square at sunset, venetian architecture"""
        ),
        "sky": _tags(
            """sky, blue sky, clouds, sky with clouds, blue sky with clouds, white clouds, cloudy blue sky, open sky,
            heaven, above the clouds, in the clouds, floating in the sky, sky background, sunny sky, summer sky, cloud
            sky, fluffy clouds"""
        ),
        "studio_photo": _tags(
            """photo studio, photography studio, photo studio with lamps, studio with softboxes, softbox, studio set,
            film studio, studio equipment, studio with lights, studio lamps, photographer's studio, professional photo
            studio, lighting equipment, photo set, cyclorama, fashion studio, photo shoot set"""
        ),
        "sunrise": _tags(
            """sunrise, meadow at sunrise, sunrise over a field, rising sun, morning sun, field at sunrise, misty
            morning, countryside at sunrise, morning meadow, meadow in the morning"""
        ),
        "sunset": _tags(
            """seaside at sunset, sea at sunset, sunset, seaside promenade, promenade at sunset, waterfront at sunset,
            harbour at sunset, quay at sunset, ocean at sunset, sunset over the sea, golden hour by the sea, orange
            sky, waterfront, seafront, promenade, boardwalk at sunset, boardwalk, quay, evening by the sea, sea in the
            evening, sunset sky, sunset over the ocean, setting sun, seaside, seaside boardwalk, sunset by the water,
            golden hour, sunset over water, esplanade at sunset, lagoon, venice at sunset, seaside evening, coast at
            sunset"""
        ),
        "venice": _tags(
            """venice, venice waterfront, venice at dawn, quay at dawn, sea at dawn, waterfront at dawn, embankment,
            waterfront, quay, harbour, lagoon, seaside, seafront, italian waterfront, cobblestone quay, seaside at
            dawn, cobblestone, seaside in the morning, italy, stone embankment, waterside, seaside
            promenade, promenade"""
        ),
        "warehouse": _tags(
            """warehouse, empty warehouse, industrial hall, storage hall, abandoned warehouse, depot, storehouse,
            loft, industrial loft, industrial space, underground garage, parking garage, garage, basement, hangar,
            industrial interior, empty hall, abandoned building, abandoned factory, abandoned factory hall, old
            factory hall, old factory, derelict factory,
            industrial, industrial background, empty factory, distribution centre, logistics centre, storage room,
            empty building"""
        ),
        "workshop": _tags(
            """workshop, factory, factory hall, factory floor, industrial workshop, production hall, metal workshop,
            industrial hall, machines, manufacturing plant, assembly line, industrial plant, workbench, tools,
            carpentry workshop, joiner's workshop, plant hall, manufacturing, welding shop, garage workshop,
            fabrication shop, industrial, repair shop, tool bench, steel hall"""
        ),
    }
)
"""For each photograph its tags, the most fitting first."""

STUDIO_TAGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sweep": _tags(
            """plain background, coloured background, studio background, white background, seamless paper, studio,
            coloured studio, plain, seamless, seamless background, infinity cove, coloured backdrop, studio backdrop,
            solid background, coloured seamless, solid colour, uniform background, plain coloured, clean background,
            simple background, neutral background, neutral, coloured wall, plain wall, minimal background, pure
            coloured, coloured paper, paper background, passport photo background, id photo background, empty
            background, one colour, plain studio, minimalist studio, coloured studio backdrop, isolated, coloured
            seamless paper, coloured infinity cove, coloured surface, pastel background, pastel, coloured paper
            background, light background, dark background, bright background, catalogue background, clean, seamless
            coloured, seamless coloured paper, packshot, headshot background, coloured seamless background"""
        ),
        "gradient": _tags(
            """gradient, gradient background, coloured gradient, smooth gradient, colour gradient, ombre, ombre
            background, fade from one colour to another, two-tone background, colour fade, coloured fade, fading
            colours, gradient from coloured to coloured, fade from coloured to coloured, soft fade, colour transition,
            gradient backdrop, coloured ombre, coloured to coloured gradient, coloured and coloured gradient"""
        ),
        "spotlight": _tags(
            """spotlight, spotlight on a dark background, dramatic spotlight, stage light, vignette, single light on a
            dark background, dark studio, coloured spotlight, dramatic dark background, moody dark background, low
            key, low key background, pool of light, dark studio with a spotlight, dark background with a spotlight,
            dramatic background, dark backdrop, dark dramatic studio, dramatic studio, stage spotlight, moody studio,
            dramatic lighting on black, spotlight background, dark moody background, vignette background, coloured
            background, coloured backdrop, coloured studio, beam of light, single beam of light, light beam"""
        ),
        "bokeh": _tags(
            """bokeh, bokeh lights, blurred lights, light bokeh, fairy lights, city lights, night lights, bokeh
            background, glittering lights, blurred city lights, festive lights, sparkling lights, string lights,
            christmas lights, out of focus lights, party lights, glowing lights, twinkling lights, city lights at
            night, night city lights, city bokeh, glitter background, night bokeh, golden bokeh, coloured bokeh, warm
            lights, coloured lights, city at night bokeh, bokeh at night, blurred city lights at night, night,
            glitter, sparkle, sparkles"""
        ),
        "wood": _tags(
            """wooden table, wood, wooden surface, wood table top, wooden board, wooden desk, oak table, rustic table,
            table, wooden planks, wood texture, rustic wooden table, wood background, pine table, walnut table, oak,
            table of wood, tabletop, desk, wooden counter, walnut, bamboo table, wood grain, butcher block, farmhouse
            table, teak, oak tabletop, rustic tabletop, barn
            wood, barn wood planks"""
        ),
        "stone": _tags(
            """stone surface, stone, slate, stone table, stone slab, granite, slate surface, granite countertop,
            granite table, slate table, rock surface, stone background, stone plate, stone texture, stone tabletop,
            limestone, slate board, travertine, stone podium, granite slab, sandstone, table, stone counter, coloured
            slate"""
        ),
        "marble": _tags(
            """marble table, marble, marble surface, marble countertop, marble slab, marble background, marble top,
            marble counter, white marble, marble texture, countertop, marble kitchen counter, carrara, marble
            tabletop, coloured marble, table, bathroom marble, polished marble, tabletop"""
        ),
        "table_room": _tags(
            """table in a room, table, tabletop, table before a blurred room, desk, kitchen table, dining table,
            coffee table, table at home, kitchen counter, kitchen countertop, table in a living room, wooden table in
            a room, wooden table in a living room, wooden table in a kitchen, table in a kitchen, wooden table with a
            blurred room, wooden desk in an office, office desk, office table, desk in an office, home office desk,
            kitchen worktop, counter, bar counter, countertop, wooden kitchen table, wooden dining table, wooden
            coffee table, wooden desk, table by a window, wooden table by a window, room"""
        ),
        "concrete": _tags(
            """concrete wall, concrete, cement wall, concrete background, grey concrete, concrete surface, cement, raw
            concrete, plaster wall, concrete floor, grey wall, stucco wall, rough wall, concrete texture, industrial
            wall, textured wall, wall, plaster, stucco, coloured concrete, coloured concrete wall, coloured cement
            wall, coloured plaster wall"""
        ),
        "brick": _tags(
            """brick wall, brick, red brick wall, bricks, exposed brick, brick background, white brick wall, loft
            brick wall, urban brick wall, brickwork, old brick wall, wall, coloured brick wall, brick loft wall,
            coloured brick, brick loft, industrial brick wall, loft with brick walls"""
        ),
    }
)
"""For each kind of studio backdrop its tags, the most fitting first."""

WEAK: tuple[str, ...] = _tags(
    """sky, blue sky, wall, window, wooden floor, concrete floor, room, interior, indoors, outdoors, clouds, table,
    tabletop, desk, bokeh, vignette, clean, plain, neutral, pastel, seamless, isolated, nature, buildings, low key,
    industrial, urban, studio, coloured wall, sunlight through a window, home, modern buildings, tall buildings, glass
    buildings, white wall, white clouds, coloured lights"""
)
"""Tags that say little: they decide only where nothing else does. "A forest under a blue sky" is a forest."""

NOT_SERVED: tuple[str, ...] = _tags(
    """volcano, volcano crater, lava, spaceship, spaceship cockpit, space station, outer space, space, planet, galaxy,
    nebula, universe, moon, moon surface, mars, mars landscape, astronaut in orbit, hospital, hospital ward, operating
    room, operating theater, clinic, dentist, doctor's office, pharmacy, library, library with bookshelves, bookshelf,
    bookshelves, bookcase, shelves of books, bookstore, bookshop, books, shelf, shelves, classroom, school,
    blackboard, chalkboard, whiteboard, lecture hall, auditorium, museum, art gallery, gallery, exhibition, bathroom,
    shower, bathtub, toilet, sauna, spa, laundry room, washing machine, snow, snow mountain, snow-capped mountain,
    snow forest, ski slope, ski resort, winter, winter landscape, winter wonderland, ice, iceberg, glacier, arctic,
    antarctica, frost, igloo, ice rink, gym, fitness studio, weight room, yoga studio, dance studio, music studio,
    recording studio, art studio, tattoo studio, boxing ring, basketball court, tennis court, bowling alley, golf
    course, stadium, football stadium, sports arena, arena, race track, racetrack, running track, skate park, sports
    hall, pool, swimming pool, poolside, water park, amusement park, theme park, playground, national park, trailer
    park, jurassic park, fairground, carnival, circus, zoo, aquarium, ferris wheel, desert, desert dunes, sand dunes,
    sahara, sand, oasis, cactus, savanna in daylight, safari, canyon, grand canyon, beach, sand beach, tropical beach,
    tropical island, palm, palm tree, island, paradise, hawaii, maldives, ocean, sea, waves, surf, shore, coast,
    coastline, cliff, lighthouse, pier, dock, jetty, marina, port, boat, ship, yacht, cruise ship, sailing,
    underwater, coral reef, seabed, bottom of the ocean, lake, river, stream, waterfall, pond, fountain, swamp, canal,
    gondola, venice canal with gondolas, water, rain, rainy street, storm, lightning, fog, mist, rainbow, tornado,
    flood, puddle, aurora, northern lights, wind, mountain, mountain peak, mountain summit, mountain range, alps,
    himalaya, hill, valley, cave, rock, jungle, rainforest, tropical forest, tropical, bamboo forest, bamboo, autumn,
    autumn leaves, autumn forest, cherry blossom, flowers, flower field, sunflower field, lavender field, rose garden,
    tulips, wheat field, corn field, vineyard, orchard, greenhouse, garden centre, farm, barn, stable, ranch, cottage,
    cabin, log cabin, village, tent, campfire, camping, treehouse, leaf, ivy, wood wall, wood fence, wood bridge, wood
    house, wood deck, wood floor boards, stone wall, stone floor, stone bridge, stone house, rope bridge, suspension
    bridge, golden gate bridge, castle, palace, ruins, temple, pagoda, shrine, church, cathedral, mosque, monastery,
    cemetery, graveyard, dungeon, pyramid, egypt, ancient rome, colosseum, medieval, fantasy, fairy tale, magic
    forest, dragon, alien, haunted house, horror, apocalypse, ruined city, war zone, battlefield, cyberpunk, neon,
    neon city, neon street, neon sign, neon lights, neon light, futuristic city, sci-fi, city at night, night city,
    street at night, night street, skyline at night, city skyline at night, nightclub, club, disco, concert, concert
    stage, stage, theater, cinema, casino, opera, bar, pub, party, birthday party, birthday, balloons, confetti,
    wedding ceremony, christmas, christmas tree, santa, halloween, pumpkin, easter, valentine, fireplace, fire,
    flames, smoke, explosion, fireworks, candles, candle, kitchen, kitchen interior, restaurant, cafe, coffee shop,
    bakery, food court, market, street market, supermarket, grocery store, shop, store, clothing store, boutique,
    showroom, jewelry store, hair salon, beauty salon, salon, barber shop, butcher, sofa, couch, lounge with a sofa,
    furnished living room, dining room, nursery, kids' room, children's bedroom, walk-in closet, closet, home office,
    open-plan office, office desks with computers, cubicle, meeting room, conference room, boardroom, server room,
    data centre, control room, computers, court room, prison, jail, police station, bank, vault, elevator, stairs,
    staircase, attic, cellar, wine cellar, balcony, terrace, rooftop, roof, swimming, garage door, driveway, street,
    alley, road, highway, motorway, country road, bridge, tunnel, subway, metro station, train station, train,
    railway, bus, bus stop, airplane, aeroplane cabin, plane, runway, cockpit, helicopter, inside a car, car interior,
    gas station, petrol station, traffic, times square, new york, manhattan, brooklyn, paris, eiffel tower, london,
    big ben, tokyo, tokyo street, dubai, hong kong, rome, berlin wall, india, taj mahal, statue of liberty, landmark,
    times, chemistry laboratory, medical laboratory, science laboratory with test tubes, test tubes, clean room,
    nuclear plant, power plant, oil rig, mine, quarry, junkyard, landfill, sewer, car workshop, car repair shop,
    bicycle shop, abstract, watercolor, watercolor painting, oil painting, painting, drawing, cartoon, anime, comic,
    graffiti, mural, pattern, stripes, polka dots, wallpaper, floral, geometric, curtain, velvet, silk, satin, fabric,
    linen, leather, fur, carpet, rug, tile, tiles, metal, steel, rusty metal, glass, mirror, gold foil, podium,
    pedestal, hexagon, holographic, chrome, liquid, splash, bubbles, feather, flag, american flag, map, world map,
    chalk, newspaper, money, crowd, audience, soldiers, animals, great wall, climbing wall, mugshot, cotton candy,
    gate, veterinary, vegetable, flooded, apocalyptic, ruined, town hall, dining hall, town hall square, gaming room,
    skydiving, oven, bowl, throne room, barbecue, elephants on the savanna, lions on the savanna, chocolate, wars,
    movie, periodic table, operating table, garden of eden, madison square, beer garden, kindergarten, vatican,
    mexico, jerusalem, vienna, berlin, moscow, istanbul, barcelona, prague, amsterdam, athens, greece, santorini,
    tuscany, provence, china, japan, korea, beijing, shanghai, singapore, bangkok, thailand, bali, sydney, australia,
    africa, cairo, morocco, marrakech, brazil, rio, las vegas, los angeles, hollywood, chicago, san francisco, miami,
    texas, spain, france, germany, russia, iceland, norway, switzerland, boulevard, home depot, data warehouse, golf,
    spooky, haunted, enchanted, magical, dead, airport, airport terminal, campus, university campus, tv studio,
    television studio, pottery workshop, pottery, sewing workshop, sewing, biology laboratory, jeans, denim, battle
    field, magnetic field, help desk, dark forest, dark room, basement dungeon, zombie, vampire, witch, burning, on
    fire, destroyed, transparent background, remove background, transparent, blossom, tropical leaves, water drops,
    aquarium tank, desert road, tennis, chess, flower, hot tub, jacuzzi, massage, veterinary clinic, kennel, saloon,
    diner, street food, food stall, hotel bar, hotel pool, hotel bathroom, hotel restaurant, balcony with a sea view,
    noon, midday, sunny noon, blue hour, moonlight, eclipse, meteor, underground cave, polar bear, tundra, horse
    stable, green screen with markers, news studio, tv news set, kitchen studio,
    city hall, chapel, chapel garden, cloister, altar, olive grove, olive trees, penthouse, hut, shack, canteen,
    steakhouse, ferry, tram, ambulance, fridge, windowsill, window sill, trench, courtroom, holiday home, lake shore,
    moss, treadmill, escalator, checkout, phone booth, bus shelter, departure gate, hammock, trampoline, playhouse,
    greenhouse garden, vineyard cellar, catwalk, runway show, red carpet, laundromat, morgue, barracks, bunker,
    shipyard, harbour crane, mill, windmill, silo, bakery counter, butcher counter, dressing room, changing room,
    locker room, waiting room of a doctor, trading floor, call centre, newsroom, observatory, planetarium, launch pad,
    rooftop bar, rooftop pool, ski lift, chalet, riverbank, riverside, lakeside, dam, harbour at night, glade at night,
    meadow in winter, steppe, outback, prairie, moor, heath, marsh, bog, cornfield, rice field, tea plantation, bayou,
    geyser, hot spring, cliffside, gorge, ravine, tree house, garden shed, shed, chicken coop, pigsty, corral, paddock,
    horse paddock, cowshed, trailer, caravan, camper van, bus interior, train compartment, ship cabin, submarine"""
)
"""What people ask for and is not there. A longer tag of an entry beats a shorter one of these, and the other way
round: "sea at sunset" is served, "sea" is not."""

MATERIALS: tuple[str, ...] = _tags("metal, steel, glass, marble, brick, bricks, concrete, stone, wood")
"""What a place is built of: "glass skyscrapers" are skyscrapers, and a marble lobby is a lobby."""

ATTRIBUTES: tuple[str, ...] = _tags(
    """leather, silk, velvet, satin, fabric, linen, fur, denim, jeans, rusty metal, chrome, chocolate, candle, books,
    money, newspaper, map, chess, car, feather"""
)
"""Of what is not served, what is as often the subject or what it is made of: "a leather bag on a wooden table"."""

TIMES: tuple[str, ...] = _tags(
    """night, dawn, dusk, sunrise, sunset, starry night, clear night, stars, sky, night sky, sunset sky, golden hour,
    morning sun, setting sun, rising sun, purple sky, pink sky, violet sky, orange sky, grey sky, cloudy sky, blue sky,
    sunny sky, summer sky, misty morning"""
)
"""Tags that are a time or a weather: what comes before them is a place in that light, and not less than they are."""

REGIONS: tuple[str, ...] = _tags("venice, italy, city, downtown, urban, countryside, nature, wilderness, outdoors")
"""Tags that are where a place is, and not what it is: with words that nobody knows they do not decide."""

KINDS: tuple[str, ...] = _tags("hall, garden, yard, corridor, park, room, bed, suite, grass, field, trees, office")
"""Tags that are something else after the name of another place: a hospital corridor, a factory hall."""

SHOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "apartment": _tags("window, windows, wooden floor, wood, parquet floor, white wall, glass"),
        "bridge": _tags("glass, steel, metal, window, city, buildings"),
        "city": _tags("glass, steel, street, trees, concrete, stone floor"),
        "construction": _tags("asphalt, road, city, concrete, street"),
        "courtyard": _tags("house, roof, trees"),
        "dawn": _tags("rock, stone, mountain, hill, canyon, cliff"),
        "esplanade": _tags("shops, shop, store, glass, tiles, tile"),
        "forest": _tags("trees, leaf, moss, rock, nature"),
        "garden": _tags("stone, stones, trees, rock, bamboo, leaf, wood fence, nature, moss"),
        "hall": _tags("chandeliers, curtain, dance floor"),
        "hotel_room": _tags("bed, curtain, armchair, desk, window, carpet, mirror"),
        "lab": _tags("machines, machinery, motors, window"),
        "lobby": _tags("stairs, staircase, wooden floor, glass, window, wood"),
        "meadow_sunrise": _tags("grass, trees, mist, sky, field, open field, meadow, countryside"),
        "night": _tags("grass, trees, stars, field, open field, lawn, countryside, meadow"),
        "park": _tags("grass, trees, clouds, sky, meadow"),
        "piazza": _tags("palace, stone, sunset, stone floor, water"),
        "sky": _tags("clouds"),
        "studio_photo": _tags("curtain"),
        "sunrise": _tags("grass, trees, mist, sky, field, open field, meadow, countryside"),
        "sunset": _tags("water, sea, ocean, shore, coast, stone, city, golden hour"),
        "venice": _tags("water, sea, shore, coast, stone, city, trees"),
        "warehouse": _tags("concrete, concrete floor, concrete wall, window"),
        "workshop": _tags("machines, tools, steel, metal"),
        "table_room": _tags("room, window"),
        "brick": _tags("loft, industrial loft"),
    }
)
"""What is to be seen in a photograph that is not called so: the sea in "Venice at sunset by the sea"."""
