"""The small world the demo model knows: American states, countries, their cities and their facts.

Everything is written out here and was reviewed by hand, so the facts need no package and no download.
`-` in a table means that the fact is left out because it has no single good answer: a country with several
official languages, a capital on the move, a state tree that names no species.

Rules that `check` enforces, because the demo's ground truth rests on them: a city lies in one region only, no
city is a region's name, and no city is an answer about a region it does not lie in. Where towns share a name, the
one listed is the largest of them in these regions; names without such a clear owner (Portland, Springfield,
Kansas City) are answers at most, never cities to ask about.
"""

# ruff: noqa: E501  (one region a line reads better than folded tables)

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

STATE = "state"
COUNTRY = "country"

# "year of admission" is the year of ratification for the first thirteen; "census division" is the Census Bureau's.
STATE_ATTRIBUTES = (
    "capital",
    "largest city",
    "abbreviation",
    "nickname",
    "demonym",
    "bird",
    "flower",
    "tree",
    "census division",
    "year of admission",
)
COUNTRY_ATTRIBUTES = (
    "capital",
    "currency",
    "official language",
    "continent",
    "demonym",
    "dialing code",
    "internet domain",
)

# One state a line: its name, then its answers in the order of STATE_ATTRIBUTES.
_STATES = """
Alabama|Montgomery|Huntsville|AL|Yellowhammer State|Alabamian|Northern Flicker|Camellia|Longleaf Pine|East South Central|1819
Alaska|Juneau|Anchorage|AK|Last Frontier|Alaskan|Willow Ptarmigan|Forget-me-not|Sitka Spruce|Pacific|1959
Arizona|Phoenix|Phoenix|AZ|Grand Canyon State|Arizonan|Cactus Wren|Saguaro Blossom|Palo Verde|Mountain|1912
Arkansas|Little Rock|Little Rock|AR|Natural State|Arkansan|Northern Mockingbird|Apple Blossom|-|West South Central|1836
California|Sacramento|Los Angeles|CA|Golden State|Californian|California Quail|California Poppy|-|Pacific|1850
Colorado|Denver|Denver|CO|Centennial State|Coloradan|Lark Bunting|Rocky Mountain Columbine|Blue Spruce|Mountain|1876
Connecticut|Hartford|Bridgeport|CT|Constitution State|Connecticuter|American Robin|Mountain Laurel|White Oak|New England|1788
Delaware|Dover|Wilmington|DE|First State|Delawarean|Blue Hen|Peach Blossom|American Holly|South Atlantic|1787
Florida|Tallahassee|Jacksonville|FL|Sunshine State|Floridian|Northern Mockingbird|Orange Blossom|Sabal Palm|South Atlantic|1845
Georgia|Atlanta|Atlanta|GA|Peach State|Georgian|Brown Thrasher|-|Live Oak|South Atlantic|1788
Hawaii|Honolulu|Honolulu|HI|Aloha State|-|Nene|Yellow Hibiscus|Candlenut|Pacific|1959
Idaho|Boise|Boise|ID|Gem State|Idahoan|Mountain Bluebird|Syringa|Western White Pine|Mountain|1890
Illinois|Springfield|Chicago|IL|Prairie State|Illinoisan|Northern Cardinal|Violet|White Oak|East North Central|1818
Indiana|Indianapolis|Indianapolis|IN|Hoosier State|Hoosier|Northern Cardinal|Peony|Tulip Tree|East North Central|1816
Iowa|Des Moines|Des Moines|IA|Hawkeye State|Iowan|American Goldfinch|Wild Prairie Rose|-|West North Central|1846
Kansas|Topeka|Wichita|KS|Sunflower State|Kansan|Western Meadowlark|Sunflower|Eastern Cottonwood|West North Central|1861
Kentucky|Frankfort|Louisville|KY|Bluegrass State|Kentuckian|Northern Cardinal|Goldenrod|Tulip Tree|East South Central|1792
Louisiana|Baton Rouge|New Orleans|LA|Pelican State|Louisianian|Brown Pelican|Magnolia|Bald Cypress|West South Central|1812
Maine|Augusta|Portland|ME|Pine Tree State|Mainer|Black-capped Chickadee|White Pine Cone|Eastern White Pine|New England|1820
Maryland|Annapolis|Baltimore|MD|Old Line State|Marylander|Baltimore Oriole|Black-eyed Susan|White Oak|South Atlantic|1788
Massachusetts|Boston|Boston|MA|Bay State|Bay Stater|Black-capped Chickadee|Mayflower|American Elm|New England|1788
Michigan|Lansing|Detroit|MI|Wolverine State|Michigander|American Robin|Apple Blossom|Eastern White Pine|East North Central|1837
Minnesota|Saint Paul|Minneapolis|MN|North Star State|Minnesotan|Common Loon|Lady Slipper|Red Pine|West North Central|1858
Mississippi|Jackson|Jackson|MS|Magnolia State|Mississippian|Northern Mockingbird|Magnolia|Southern Magnolia|East South Central|1817
Missouri|Jefferson City|Kansas City|MO|Show-Me State|Missourian|Eastern Bluebird|Hawthorn|Flowering Dogwood|West North Central|1821
Montana|Helena|Billings|MT|Treasure State|Montanan|Western Meadowlark|Bitterroot|Ponderosa Pine|Mountain|1889
Nebraska|Lincoln|Omaha|NE|Cornhusker State|Nebraskan|Western Meadowlark|Goldenrod|Eastern Cottonwood|West North Central|1867
Nevada|Carson City|Las Vegas|NV|Silver State|Nevadan|Mountain Bluebird|Sagebrush|-|Mountain|1864
New Hampshire|Concord|Manchester|NH|Granite State|New Hampshirite|Purple Finch|Purple Lilac|White Birch|New England|1788
New Jersey|Trenton|Newark|NJ|Garden State|New Jerseyan|American Goldfinch|Violet|Northern Red Oak|Middle Atlantic|1787
New Mexico|Santa Fe|Albuquerque|NM|Land of Enchantment|New Mexican|Greater Roadrunner|Yucca|Pinyon Pine|Mountain|1912
New York|Albany|New York City|NY|Empire State|New Yorker|Eastern Bluebird|Rose|Sugar Maple|Middle Atlantic|1788
North Carolina|Raleigh|Charlotte|NC|Tar Heel State|North Carolinian|Northern Cardinal|Flowering Dogwood|-|South Atlantic|1789
North Dakota|Bismarck|Fargo|ND|Peace Garden State|North Dakotan|Western Meadowlark|Wild Prairie Rose|American Elm|West North Central|1889
Ohio|Columbus|Columbus|OH|Buckeye State|Ohioan|Northern Cardinal|Scarlet Carnation|Ohio Buckeye|East North Central|1803
Oklahoma|Oklahoma City|Oklahoma City|OK|Sooner State|Oklahoman|Scissor-tailed Flycatcher|Oklahoma Rose|Eastern Redbud|West South Central|1907
Oregon|Salem|Portland|OR|Beaver State|Oregonian|Western Meadowlark|Oregon Grape|Douglas Fir|Pacific|1859
Pennsylvania|Harrisburg|Philadelphia|PA|Keystone State|Pennsylvanian|Ruffed Grouse|Mountain Laurel|Eastern Hemlock|Middle Atlantic|1787
Rhode Island|Providence|Providence|RI|Ocean State|Rhode Islander|Rhode Island Red|Violet|Red Maple|New England|1790
South Carolina|Columbia|Charleston|SC|Palmetto State|South Carolinian|Carolina Wren|Yellow Jessamine|Sabal Palm|South Atlantic|1788
South Dakota|Pierre|Sioux Falls|SD|Mount Rushmore State|South Dakotan|Ring-necked Pheasant|Pasque Flower|Black Hills Spruce|West North Central|1889
Tennessee|Nashville|Nashville|TN|Volunteer State|Tennessean|Northern Mockingbird|Iris|Tulip Tree|East South Central|1796
Texas|Austin|Houston|TX|Lone Star State|Texan|Northern Mockingbird|Bluebonnet|Pecan|West South Central|1845
Utah|Salt Lake City|Salt Lake City|UT|Beehive State|Utahn|California Gull|Sego Lily|Quaking Aspen|Mountain|1896
Vermont|Montpelier|Burlington|VT|Green Mountain State|Vermonter|Hermit Thrush|Red Clover|Sugar Maple|New England|1791
Virginia|Richmond|Virginia Beach|VA|Old Dominion|Virginian|Northern Cardinal|Flowering Dogwood|Flowering Dogwood|South Atlantic|1788
Washington|Olympia|Seattle|WA|Evergreen State|Washingtonian|American Goldfinch|Pacific Rhododendron|Western Hemlock|Pacific|1889
West Virginia|Charleston|Charleston|WV|Mountain State|West Virginian|Northern Cardinal|Rhododendron|Sugar Maple|South Atlantic|1863
Wisconsin|Madison|Milwaukee|WI|Badger State|Wisconsinite|American Robin|Wood Violet|Sugar Maple|East North Central|1848
Wyoming|Cheyenne|Cheyenne|WY|Equality State|Wyomingite|Western Meadowlark|Indian Paintbrush|Plains Cottonwood|Mountain|1890
"""

# One country a line: its name, then its answers in the order of COUNTRY_ATTRIBUTES.
_COUNTRIES = """
France|Paris|Euro|French|Europe|French|+33|.fr
Germany|Berlin|Euro|German|Europe|German|+49|.de
Italy|Rome|Euro|Italian|Europe|Italian|+39|.it
Spain|Madrid|Euro|Spanish|Europe|Spaniard|+34|.es
Portugal|Lisbon|Euro|Portuguese|Europe|Portuguese|+351|.pt
Netherlands|Amsterdam|Euro|Dutch|Europe|Dutch|+31|.nl
Poland|Warsaw|Zloty|Polish|Europe|Pole|+48|.pl
Sweden|Stockholm|Swedish Krona|Swedish|Europe|Swede|+46|.se
Norway|Oslo|Norwegian Krone|Norwegian|Europe|Norwegian|+47|.no
Denmark|Copenhagen|Danish Krone|Danish|Europe|Dane|+45|.dk
Finland|Helsinki|Euro|-|Europe|Finn|+358|.fi
Greece|Athens|Euro|Greek|Europe|Greek|+30|.gr
Hungary|Budapest|Forint|Hungarian|Europe|Hungarian|+36|.hu
Romania|Bucharest|Leu|Romanian|Europe|Romanian|+40|.ro
Bulgaria|Sofia|Euro|Bulgarian|Europe|Bulgarian|+359|.bg
Ukraine|Kyiv|Hryvnia|Ukrainian|Europe|Ukrainian|+380|.ua
Russia|Moscow|Ruble|Russian|-|Russian|+7|.ru
Turkey|Ankara|Lira|Turkish|-|Turk|+90|.tr
Japan|Tokyo|Yen|Japanese|Asia|Japanese|+81|.jp
China|Beijing|Yuan|Chinese|Asia|Chinese|+86|.cn
India|New Delhi|Indian Rupee|-|Asia|Indian|+91|.in
Pakistan|Islamabad|Pakistani Rupee|-|Asia|Pakistani|+92|.pk
Bangladesh|Dhaka|Taka|Bengali|Asia|Bangladeshi|+880|.bd
Thailand|Bangkok|Baht|Thai|Asia|Thai|+66|.th
Vietnam|Hanoi|Dong|Vietnamese|Asia|Vietnamese|+84|.vn
Indonesia|-|Rupiah|Indonesian|Asia|Indonesian|+62|.id
Malaysia|Kuala Lumpur|Ringgit|Malay|Asia|Malaysian|+60|.my
Philippines|Manila|Philippine Peso|-|Asia|Filipino|+63|.ph
Iran|Tehran|Rial|Persian|Asia|Iranian|+98|.ir
Iraq|Baghdad|Iraqi Dinar|-|Asia|Iraqi|+964|.iq
Egypt|Cairo|Egyptian Pound|Arabic|Africa|Egyptian|+20|.eg
Nigeria|Abuja|Naira|English|Africa|Nigerian|+234|.ng
Kenya|Nairobi|Kenyan Shilling|-|Africa|Kenyan|+254|.ke
Ethiopia|Addis Ababa|Birr|-|Africa|Ethiopian|+251|.et
Ghana|Accra|Cedi|English|Africa|Ghanaian|+233|.gh
Morocco|Rabat|Moroccan Dirham|-|Africa|Moroccan|+212|.ma
Brazil|Brasilia|Real|Portuguese|South America|Brazilian|+55|.br
Argentina|Buenos Aires|Argentine Peso|Spanish|South America|Argentine|+54|.ar
Chile|Santiago|Chilean Peso|Spanish|South America|Chilean|+56|.cl
Peru|Lima|Sol|-|South America|Peruvian|+51|.pe
Colombia|Bogota|Colombian Peso|Spanish|South America|Colombian|+57|.co
Venezuela|Caracas|Bolivar|Spanish|South America|Venezuelan|+58|.ve
Mexico|Mexico City|Mexican Peso|Spanish|North America|Mexican|+52|.mx
Canada|Ottawa|Canadian Dollar|-|North America|Canadian|+1|.ca
Australia|Canberra|Australian Dollar|English|Oceania|Australian|+61|.au
"""

_CITIES = """
Alabama: Huntsville, Montgomery, Mobile, Tuscaloosa, Hoover, Dothan, Gadsden, Opelika, Bessemer
Alaska: Anchorage, Fairbanks, Juneau, Sitka, Ketchikan, Wasilla, Kodiak, Nome
Arizona: Phoenix, Tucson, Mesa, Chandler, Scottsdale, Tempe, Yuma, Flagstaff, Prescott
Arkansas: Little Rock, Fort Smith, Springdale, Jonesboro, Conway, Bentonville, Pine Bluff, Hot Springs, Paragould
California: Los Angeles, San Diego, San Francisco, Fresno, Sacramento, Oakland, Bakersfield, Anaheim, Stockton
Colorado: Denver, Colorado Springs, Fort Collins, Arvada, Pueblo, Greeley, Boulder, Longmont, Loveland
Connecticut: Bridgeport, New Haven, Stamford, Hartford, Waterbury, Danbury, New Britain, Meriden, West Hartford
Delaware: Dover, Rehoboth Beach, Lewes, Millsboro, Selbyville, Bethany Beach, Dewey Beach, Fenwick Island
Florida: Jacksonville, Miami, Tampa, Orlando, Hialeah, Tallahassee, Fort Lauderdale, Cape Coral, Sarasota
Georgia: Atlanta, Savannah, Sandy Springs, Johns Creek, Warner Robins, Alpharetta, Marietta, Valdosta, Dunwoody
Hawaii: Honolulu, Hilo, Kailua, Waipahu, Kaneohe, Kahului, Pearl City, Lahaina, Wahiawa
Idaho: Boise, Nampa, Idaho Falls, Pocatello, Twin Falls, Post Falls, Rexburg, Sandpoint, Blackfoot
Illinois: Chicago, Rockford, Joliet, Naperville, Elgin, Waukegan, Champaign, Evanston, Schaumburg
Indiana: Indianapolis, Fort Wayne, Evansville, South Bend, Gary, Muncie, Terre Haute, Kokomo, Elkhart
Iowa: Des Moines, Cedar Rapids, Davenport, Sioux City, Iowa City, Ames, Council Bluffs, Dubuque, Cedar Falls
Kansas: Wichita, Overland Park, Olathe, Topeka, Lenexa, Salina, Hutchinson, Leavenworth, Dodge City
Kentucky: Louisville, Lexington, Owensboro, Hopkinsville, Nicholasville, Elizabethtown, Paducah, Frankfort
Louisiana: New Orleans, Baton Rouge, Shreveport, Lake Charles, Bossier City, Kenner, Houma, New Iberia, Slidell
Maine: Biddeford, Saco, Westbrook, Waterville, Kennebunk, Presque Isle, Bar Harbor, Orono, Skowhegan
Maryland: Baltimore, Frederick, Gaithersburg, Rockville, Bowie, Annapolis, Hagerstown, Takoma Park, Greenbelt
Massachusetts: Boston, Lowell, New Bedford, Brockton, Fall River, Somerville, Framingham, Waltham, Malden
Michigan: Detroit, Grand Rapids, Sterling Heights, Ann Arbor, Lansing, Flint, Dearborn, Livonia, Kalamazoo
Minnesota: Minneapolis, Saint Paul, Brooklyn Park, Maple Grove, Duluth, Eagan, Eden Prairie, Burnsville, Edina
Mississippi: Gulfport, Southaven, Hattiesburg, Biloxi, Olive Branch, Tupelo, Starkville, Vicksburg, Pascagoula
Missouri: Independence, Saint Joseph, Blue Springs, Florissant, Joplin, Jefferson City, Cape Girardeau, Branson, Sedalia
Montana: Billings, Missoula, Great Falls, Bozeman, Butte, Kalispell, Helena, Whitefish, Havre
Nebraska: Omaha, Kearney, North Platte, Papillion, Grand Island, Scottsbluff, Ogallala, Beatrice, Chadron
Nevada: Las Vegas, Henderson, Reno, North Las Vegas, Sparks, Carson City, Elko, Winnemucca, Boulder City
New Hampshire: Nashua, Keene, Laconia, Merrimack, Somersworth, Hooksett, Goffstown, North Conway
New Jersey: Newark, Jersey City, Paterson, Elizabeth, Edison, Trenton, Toms River, Hoboken, Passaic
New Mexico: Albuquerque, Las Cruces, Rio Rancho, Hobbs, Alamogordo, Gallup, Silver City, Taos, Ruidoso
New York: New York City, Buffalo, Yonkers, Utica, Schenectady, Ithaca, Poughkeepsie, New Rochelle, White Plains
North Carolina: Charlotte, Raleigh, Greensboro, Cary, High Point, Asheville, Gastonia, Chapel Hill, Kannapolis
North Dakota: Fargo, Bismarck, Grand Forks, Minot, West Fargo, Williston, Mandan, Devils Lake, Wahpeton
Ohio: Columbus, Cleveland, Cincinnati, Akron, Dayton, Youngstown, Lorain, Elyria, Cuyahoga Falls
Oklahoma: Oklahoma City, Tulsa, Norman, Broken Arrow, Lawton, Edmond, Enid, Muskogee, Bartlesville
Oregon: Eugene, Gresham, Hillsboro, Beaverton, Bend, Corvallis, Tigard, Grants Pass, Klamath Falls
Pennsylvania: Philadelphia, Pittsburgh, Allentown, Erie, Scranton, Harrisburg, Altoona, Hershey, Gettysburg
Rhode Island: Providence, Cranston, Pawtucket, East Providence, Woonsocket, Central Falls, Narragansett, Westerly, West Warwick
South Carolina: North Charleston, Rock Hill, Summerville, Sumter, Goose Creek, Spartanburg, Myrtle Beach, Aiken, Greer
South Dakota: Sioux Falls, Rapid City, Pierre, Deadwood, Brookings, Spearfish, Yankton, Vermillion, Mitchell
Tennessee: Nashville, Memphis, Knoxville, Chattanooga, Clarksville, Murfreesboro, Johnson City, Hendersonville, Kingsport
Texas: Houston, San Antonio, Dallas, Fort Worth, Austin, El Paso, Corpus Christi, Plano, Laredo, Lubbock, Amarillo
Utah: Salt Lake City, West Valley City, Provo, West Jordan, Orem, Ogden, Layton, Saint George, Lehi
Vermont: Montpelier, Bellows Falls, Stowe, Brattleboro, Bennington, South Burlington, Essex Junction, Winooski, Killington
Virginia: Virginia Beach, Norfolk, Chesapeake, Newport News, Hampton, Roanoke, Lynchburg, Charlottesville, Fredericksburg
Washington: Seattle, Spokane, Tacoma, Renton, Federal Way, Yakima, Kirkland, Bellingham, Olympia
West Virginia: Parkersburg, Morgantown, Weirton, Fairmont, Martinsburg, Beckley, Clarksburg, Bluefield, Elkins
Wisconsin: Milwaukee, Madison, Green Bay, Kenosha, Racine, Appleton, Waukesha, Eau Claire, Oshkosh
Wyoming: Cheyenne, Casper, Gillette, Laramie, Rock Springs, Sheridan, Cody, Rawlins, Worland
France: Paris, Marseille, Lyon, Toulouse, Nice, Nantes, Strasbourg, Bordeaux
Germany: Berlin, Hamburg, Munich, Cologne, Stuttgart, Dortmund, Dresden
Italy: Rome, Milan, Naples, Turin, Palermo, Genoa, Bologna
Spain: Madrid, Zaragoza, Seville, Malaga, Murcia, Alicante, Bilbao
Portugal: Lisbon, Porto, Braga, Coimbra, Setubal, Funchal, Faro
Netherlands: Rotterdam, Amsterdam, Utrecht, Groningen, Eindhoven, Tilburg, Nijmegen
Poland: Warsaw, Krakow, Wroclaw, Poznan, Gdansk, Szczecin, Lublin
Sweden: Stockholm, Gothenburg, Malmo, Uppsala, Linkoping, Orebro, Umea
Norway: Oslo, Bergen, Trondheim, Stavanger, Kristiansand, Drammen, Fredrikstad
Denmark: Copenhagen, Aarhus, Odense, Aalborg, Esbjerg, Randers, Kolding
Finland: Helsinki, Espoo, Tampere, Vantaa, Oulu, Turku, Kuopio
Greece: Athens, Thessaloniki, Patras, Piraeus, Larissa, Heraklion, Rhodes
Hungary: Budapest, Debrecen, Szeged, Miskolc, Pecs, Gyor, Kecskemet
Romania: Bucharest, Iasi, Constanta, Brasov, Timisoara, Craiova, Galati
Bulgaria: Sofia, Plovdiv, Varna, Burgas, Ruse, Pleven, Sliven
Ukraine: Kyiv, Kharkiv, Odesa, Dnipro, Lviv, Zaporizhzhia, Vinnytsia
Russia: Moscow, Saint Petersburg, Novosibirsk, Yekaterinburg, Kazan, Omsk, Samara, Ufa
Turkey: Istanbul, Ankara, Bursa, Izmir, Gaziantep, Adana, Konya, Antalya
Japan: Tokyo, Yokohama, Osaka, Nagoya, Sapporo, Fukuoka, Kobe, Kyoto
China: Shanghai, Beijing, Shenzhen, Guangzhou, Chengdu, Tianjin, Wuhan, Nanjing
India: Mumbai, Bengaluru, Ahmedabad, Chennai, Kolkata, Surat, Pune, Jaipur
Pakistan: Lahore, Karachi, Peshawar, Faisalabad, Rawalpindi, Multan, Quetta
Bangladesh: Dhaka, Chattogram, Gazipur, Khulna, Rangpur, Rajshahi, Sylhet
Thailand: Bangkok, Chiang Mai, Hat Yai, Pattaya, Phuket, Khon Kaen, Udon Thani
Vietnam: Hanoi, Haiphong, Can Tho, Hue, Da Nang, Nha Trang, Vinh
Indonesia: Jakarta, Surabaya, Bandung, Medan, Semarang, Palembang, Makassar
Malaysia: Kuala Lumpur, Johor Bahru, Petaling Jaya, Ipoh, Shah Alam, Kota Bharu, Kuching
Philippines: Quezon City, Manila, Caloocan, Taguig, Zamboanga, Cebu City, Antipolo, Baguio
Iran: Tehran, Mashhad, Isfahan, Karaj, Tabriz, Shiraz, Qom
Iraq: Baghdad, Mosul, Erbil, Basra, Karbala, Kirkuk, Najaf
Egypt: Cairo, Alexandria, Giza, Port Said, Suez, Luxor, Aswan
Nigeria: Lagos, Kano, Ibadan, Abuja, Port Harcourt, Kaduna, Benin City
Kenya: Nairobi, Mombasa, Nakuru, Eldoret, Kisumu, Thika, Naivasha
Ethiopia: Addis Ababa, Jijiga, Gondar, Mekelle, Hawassa, Bahir Dar, Dire Dawa
Ghana: Kumasi, Accra, Tamale, Takoradi, Cape Coast, Tema, Obuasi
Morocco: Casablanca, Rabat, Fez, Tangier, Marrakesh, Agadir, Meknes
Brazil: Sao Paulo, Rio de Janeiro, Belo Horizonte, Salvador, Manaus, Brasilia, Curitiba, Recife
Argentina: Buenos Aires, Rosario, Salta, Corrientes, Posadas, Bahia Blanca, Ushuaia
Chile: Santiago, Antofagasta, Valparaiso, Temuco, Rancagua, Arica, Puerto Montt
Peru: Lima, Callao, Arequipa, Piura, Chiclayo, Cusco, Iquitos
Colombia: Bogota, Cali, Medellin, Barranquilla, Bucaramanga, Cucuta, Ibague
Venezuela: Caracas, Maracaibo, Barquisimeto, Maturin, Maracay, Ciudad Bolivar, Cumana
Mexico: Mexico City, Tijuana, Puebla, Guadalajara, Monterrey, Mexicali, Ciudad Juarez, Cancun
Canada: Toronto, Montreal, Calgary, Ottawa, Edmonton, Winnipeg, Mississauga, Halifax
Australia: Sydney, Melbourne, Brisbane, Adelaide, Canberra, Geelong, Wollongong, Hobart
"""


@dataclass(frozen=True)
class World:
    """Regions, their facts and their cities."""

    kind_of_region: dict[str, str]
    """`state` or `country` for each of the 95 regions."""

    answers: dict[tuple[str, str], str]
    """(region, attribute) to the answer; facts without a single good answer are absent."""

    region_of_city: dict[str, str]
    """The one region each city lies in."""

    def attributes_of(self, region: str) -> tuple[str, ...]:
        """The attributes that this region has an answer for, in the order of its table."""
        all_attributes = STATE_ATTRIBUTES if self.kind_of_region[region] == STATE else COUNTRY_ATTRIBUTES
        return tuple(attribute for attribute in all_attributes if (region, attribute) in self.answers)

    def names(self) -> list[str]:
        """Every region, city and answer, sorted; each is one token of the demo model."""
        return sorted(set(self.kind_of_region) | set(self.region_of_city) | set(self.answers.values()))


@lru_cache(maxsize=1)
def load_world() -> World:
    """The world of the tables above, checked."""
    kind_of_region: dict[str, str] = {}
    answers: dict[tuple[str, str], str] = {}
    region_of_city: dict[str, str] = {}
    for table, kind, attributes in ((_STATES, STATE, STATE_ATTRIBUTES), (_COUNTRIES, COUNTRY, COUNTRY_ATTRIBUTES)):
        for line in table.strip().splitlines():
            region, *values = line.split("|")
            if len(values) != len(attributes):
                raise ValueError(
                    f"the table of facts has {len(values)} answers for {region!r}; expected {len(attributes)}, "
                    f"one for each of {', '.join(attributes)} (write - for a fact to leave out)"
                )
            kind_of_region[region] = kind
            answers.update(
                {
                    (region, attribute): value
                    for attribute, value in zip(attributes, values, strict=True)
                    if value != "-"
                }
            )
    for line in _CITIES.strip().splitlines():
        region, cities = line.split(": ")
        for city in cities.split(", "):
            if city in region_of_city:
                raise ValueError(
                    f"{city!r} is listed under {region_of_city[city]} and {region}; a city lies in one region: drop one"
                )
            region_of_city[city] = region
    world = World(kind_of_region, answers, region_of_city)
    check(world)
    return world


def check(world: World) -> None:
    """Raise if the world would make an intermediate step ambiguous."""
    strays = set(world.region_of_city.values()) ^ set(world.kind_of_region)
    if strays:
        raise ValueError(f"regions without facts or without cities: {sorted(strays)}; every region needs both")
    regions_of_answer: dict[str, set[str]] = {}
    for (region, _), answer in world.answers.items():
        regions_of_answer.setdefault(answer, set()).add(region)
    for city, region in world.region_of_city.items():
        if city in world.kind_of_region:
            raise ValueError(f"{city!r} is a city of {region} and also a region's name; drop the city")
        elsewhere = regions_of_answer.get(city, set()) - {region}
        if elsewhere:
            raise ValueError(
                f"{city!r} is a city of {region} and an answer about {sorted(elsewhere)}; "
                "a city may only be an answer about its own region: drop the city"
            )
